// A chat over /v1/chat/completions, read as it comes; in the end, which memory it had.

import { send } from "/static/dom.js";

export async function chat(body, signal, hear) {
  const answer = await send("/v1/chat/completions", "POST", { ...body, stream: true }, { signal });
  const memory = answer.headers.get("x-anubhav-memory");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return memory;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data === "[DONE]") return memory;
      if (!data) continue;
      const told = JSON.parse(data);
      if (told.error) throw new Error(told.error.message);
      hear(told);
    }
  }
}
