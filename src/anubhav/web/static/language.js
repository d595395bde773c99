// Texts in the language of the page: English is what the scripts say, for others the page brings them along.

const texts = JSON.parse(document.querySelector("#texts")?.dataset.texts ?? "{}");

export function _(text, values = {}) {
  return (texts[text] || text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}
