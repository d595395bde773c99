"""Datasets: the lines of a training file as a model is to see them. A line is rendered when it is its turn, so that a
file costs its bytes and not its tokens; what is wrong with one is told with its number.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.errors import BadInput
from anubhav.learning import lines
from anubhav.learning.preference import Pair
from anubhav.rendering.renderer import Renderer
from anubhav.training.jobs import BadFile
from anubhav.types.chat import Message
from anubhav.types.models import Model
from anubhav.types.tuning import Method

Answer = tuple[tuple[int, ...], tuple[int, ...]]
"""(prompt, answer)"""


@dataclass(frozen=True, slots=True)
class Dataset:
    param: str
    """What a job calls the file."""
    rows: Sequence[tuple[int, bytes]]
    """(number of the line, the line)"""
    renderer: Renderer
    model: Model

    def __len__(self) -> int:
        return len(self.rows)

    def answers(self, place: int) -> list[Answer]:
        """Of a chat: each answer that is learned, with all that was said before it."""
        number, line = self.rows[place]
        try:
            chat = lines.read_chat(line)
            found = [self._answer(chat.messages[:at], chat.messages[at]) for at in chat.learned]
            return [self._fitting(*one) for one in found]
        except BadInput as problem:
            raise at_line(self.param, number, problem) from problem

    def pair(self, place: int) -> Pair:
        """Of a preference."""
        number, line = self.rows[place]
        try:
            one = lines.read_preference(line)
            prompt, chosen = self._fitting(*self._answer(one.messages, one.chosen))
            _, rejected = self._fitting(*self._answer(one.messages, one.rejected))
            return Pair(prompt, chosen, rejected)
        except BadInput as problem:
            raise at_line(self.param, number, problem) from problem

    async def count(self, method: Method) -> int:
        """Tokens of one epoch. Raises BadFile at the first line that cannot be learned."""
        total = 0
        for place in range(len(self)):
            if method == "supervised":
                total += sum(len(prompt) + len(answer) for prompt, answer in self.answers(place))
            else:
                pair = self.pair(place)
                total += 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
            await asyncio.sleep(0)  # others use the loop
        return total

    def _answer(self, before: Sequence[Message], said: Message) -> Answer:
        prompt = self.renderer.render(before)
        if not said.tool_calls:
            return prompt, self.renderer.answer(said.content)
        # How calls are written only the template knows.
        whole = self.renderer.render([*before, said], prompt=False)
        if whole[: len(prompt)] != prompt:
            raise BadInput("The model's chat template does not write these tool calls behind its prompt")
        answer = whole[len(prompt) :]
        ends = [at for at, token in enumerate(answer) if token in self.renderer.stop_tokens]
        return prompt, answer[: ends[0] + 1] if ends else (*answer, self.renderer.stop_tokens[0])

    def _fitting(self, prompt: tuple[int, ...], answer: tuple[int, ...]) -> Answer:
        tokens, room = len(prompt) + len(answer), self.model.context_length
        if tokens > room:
            raise BadInput(f"It has {tokens} tokens, and the model reads {room}", hint="Cut it, or leave it out.")
        return prompt, answer


def read_rows(data: bytes, method: Method, param: str) -> list[tuple[int, bytes]]:
    """The lines, each of the method's form; empty ones are passed over. Raises BadFile at the first other one."""
    rows = [(number, line) for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    if not rows:
        raise BadFile(f"{param} has no lines", hint="Write one example a line.", param=param)
    read = lines.read_chat if method == "supervised" else lines.read_preference
    for number, line in rows:
        try:
            read(line)
        except BadInput as problem:
            raise at_line(param, number, problem) from problem
    return rows


def at_line(param: str, number: int, problem: BadInput) -> BadFile:
    return BadFile(f"{param}, line {number}: {problem.message}", hint=problem.hint, param=param)
