"""What a fine-tuning job teaches and how it measures: imitation of answers, or DPO between two, each a handful of
operations of the job's run. The same job gives the same operations, in the same order, whenever it is done.
"""

from collections.abc import Sequence
from typing import Protocol

from anubhav.flows.datasets import Answer, Dataset
from anubhav.learning import preference
from anubhav.learning.imitation import imitate
from anubhav.training.client import RunClient
from anubhav.types.training import Datum
from anubhav.types.tuning import Method

_TOGETHER = 128
"""Data in one pass."""


class Lesson(Protocol):
    async def prepare(self, run: RunClient) -> None:
        """Before the first step."""
        ...

    async def learn(self, run: RunClient, places: Sequence[int]) -> float:
        """Leave the gradient of these examples' mean loss in the run; returns that loss."""
        ...

    async def measure(self, run: RunClient) -> float | None:
        """The mean loss over the validation file; None without one."""
        ...


def make_lesson(method: Method, training: Dataset, validation: Dataset | None, beta: float) -> Lesson:
    return Imitating(training, validation) if method == "supervised" else Preferring(training, validation, beta)


class Imitating:
    """Every answer weighs the same, whatever its length; so do its tokens among themselves."""

    def __init__(self, training: Dataset, validation: Dataset | None) -> None:
        self._training, self._validation = training, validation

    async def prepare(self, run: RunClient) -> None:
        return

    async def learn(self, run: RunClient, places: Sequence[int]) -> float:
        answers = [answer for place in places for answer in self._training.answers(place)]
        data = [imitate(prompt, answer, 1.0 / len(answers)) for prompt, answer in answers]
        loss = 0.0
        for first in range(0, len(data), _TOGETHER):
            result = await run.forward_backward(data[first : first + _TOGETHER], "cross_entropy")
            loss += result.metrics["loss:sum"]
        return loss

    async def measure(self, run: RunClient) -> float | None:
        if self._validation is None:
            return None
        loss, count, waiting = 0.0, 0, list[Datum]()
        for place in range(len(self._validation)):
            waiting += [imitate(prompt, answer) for prompt, answer in self._validation.answers(place)]
            if len(waiting) >= _TOGETHER or place == len(self._validation) - 1:
                loss += (await run.forward(waiting)).metrics["loss:sum"]
                count, waiting = count + len(waiting), []
        return loss / count


class Preferring:
    """DPO; the reference is what the run began with."""

    def __init__(self, training: Dataset, validation: Dataset | None, beta: float) -> None:
        self._training, self._validation, self._beta = training, validation, beta
        self._reference: list[float] = []
        self._expected: list[float] = []

    async def prepare(self, run: RunClient) -> None:
        self._reference = await _score(run, self._training)
        self._expected = await _score(run, self._validation) if self._validation else []

    async def learn(self, run: RunClient, places: Sequence[int]) -> float:
        pairs = [self._training.pair(place) for place in places]
        before = [self._reference[2 * place + side] for place in places for side in (0, 1)]
        now = await _sums(run, preference.answers(pairs))
        data = preference.weigh(pairs, preference.strengths(now, before, self._beta))
        for first in range(0, len(data), _TOGETHER):
            await run.forward_backward(data[first : first + _TOGETHER], "cross_entropy")
        return preference.loss(now, before, self._beta)

    async def measure(self, run: RunClient) -> float | None:
        if self._validation is None:
            return None
        return preference.loss(await _score(run, self._validation), self._expected, self._beta)


async def _score(run: RunClient, dataset: Dataset) -> list[float]:
    """The log-probability of every answer, chosen and rejected in turn."""
    found: list[float] = []
    for first in range(0, len(dataset), _TOGETHER // 2):
        places = range(first, min(first + _TOGETHER // 2, len(dataset)))
        found += await _sums(run, preference.answers([dataset.pair(place) for place in places]))
    return found


async def _sums(run: RunClient, answers: Sequence[Answer]) -> list[float]:
    found: list[float] = []
    for first in range(0, len(answers), _TOGETHER):
        part = answers[first : first + _TOGETHER]
        result = await run.forward([preference.weighted(prompt, answer, 0.0) for prompt, answer in part])
        for (_, answer), logprobs in zip(part, result.logprobs, strict=True):
            found.append(preference.answer_logprob(logprobs.tolist(), answer))
    return found
