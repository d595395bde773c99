// The openai package for JavaScript.
import OpenAI from "openai";
import { MODEL, V1, KEY, SCHEMA, check, attempt, told } from "./cases.mjs";

const client = new OpenAI({ baseURL: V1, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Name a city." }];
const tools = [{ type: "function", function: { name: "visit", description: "Visits a city.", parameters: SCHEMA } }];

await attempt("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  check(names.includes(MODEL), names);
});
await attempt("chat", async () => {
  const reply = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 8 });
  check(reply.choices[0].message.content, reply);
});
await attempt("streaming", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages, max_tokens: 8 });
  check((await stream.finalChatCompletion()).choices[0].message.content, "no words");
});
await attempt("tools, forced", async () => {
  const reply = await client.chat.completions.create({ model: MODEL, messages, tools, tool_choice: "required", max_tokens: 60 });
  check(["Paris", "Rome"].includes(JSON.parse(reply.choices[0].message.tool_calls[0].function.arguments).city), reply);
});
await attempt("responses", async () => {
  const reply = await client.responses.create({ model: MODEL, input: "Name a city.", max_output_tokens: 8 });
  check(reply.output_text, reply);
});
await attempt("responses, streamed", async () => {
  const kinds = [];
  const stream = await client.responses.create({ model: MODEL, input: "Name a city.", max_output_tokens: 8, stream: true });
  for await (const event of stream) kinds.push(event.type);
  check(["response.completed", "response.incomplete"].includes(kinds.at(-1)), kinds);
});
told();
