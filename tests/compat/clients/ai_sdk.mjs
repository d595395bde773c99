// Vercel's AI SDK, over chat (openai-compatible) and over Responses (openai).
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { MODEL, V1, KEY, check, attempt, told } from "./cases.mjs";

const chat = createOpenAICompatible({ name: "ours", baseURL: V1, apiKey: KEY, supportsStructuredOutputs: true })(MODEL);
const responses = createOpenAI({ baseURL: V1, apiKey: KEY })(MODEL);
const city = z.object({ city: z.enum(["Paris", "Rome"]) });
const visit = tool({ description: "Visits a city.", inputSchema: city, execute: async ({ city }) => `${city} was visited` });

await attempt("chat", async () => {
  check((await generateText({ model: chat, prompt: "Name a city.", maxOutputTokens: 8 })).text, "no words");
});
await attempt("streaming", async () => {
  let text = "";
  for await (const more of streamText({ model: chat, prompt: "Name a city.", maxOutputTokens: 8 }).textStream) text += more;
  check(text, "no words");
});
await attempt("JSON schema", async () => {
  const found = await generateObject({ model: chat, schema: city, prompt: "Name a city.", maxOutputTokens: 60 });
  check(["Paris", "Rome"].includes(found.object.city), found.object);
});
await attempt("tools, forced", async () => {
  const said = await generateText({ model: chat, prompt: "Visit Rome.", tools: { visit }, toolChoice: "required", maxOutputTokens: 60 });
  check(said.toolResults.length > 0, said.text);
});
await attempt("responses", async () => {
  check((await generateText({ model: responses, prompt: "Name a city.", maxOutputTokens: 16 })).text, "no words");
});
await attempt("responses, streamed", async () => {
  let text = "";
  for await (const more of streamText({ model: responses, prompt: "Name a city.", maxOutputTokens: 16 }).textStream) text += more;
  check(text, "no words");
});
told();
