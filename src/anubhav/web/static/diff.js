// Two answers with what differs between them marked, word by word.

import { make } from "/static/dom.js";

const LONGEST = 600;

export function marked(text, other) {
  const [mine, theirs] = [text.split(/(\s+)/), other.split(/(\s+)/)];
  if (mine.length > LONGEST || theirs.length > LONGEST) return [text];
  const shared = common(mine, theirs);
  return mine.map((word, at) => (shared.has(at) || !word.trim() ? word : make("mark", {}, word)));
}

function common(mine, theirs) {
  // The longest common subsequence: which words of `mine` are in it.
  const length = Array.from({ length: mine.length + 1 }, () => new Uint16Array(theirs.length + 1));
  for (let one = mine.length - 1; one >= 0; one--)
    for (let two = theirs.length - 1; two >= 0; two--)
      length[one][two] = mine[one] === theirs[two] ? length[one + 1][two + 1] + 1 : Math.max(length[one + 1][two], length[one][two + 1]);
  const shared = new Set();
  for (let one = 0, two = 0; one < mine.length && two < theirs.length;) {
    if (mine[one] === theirs[two]) { shared.add(one); one++; two++; }
    else if (length[one + 1][two] >= length[one][two + 1]) one++;
    else two++;
  }
  return shared;
}
