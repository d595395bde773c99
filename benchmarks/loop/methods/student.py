"""A rival's adapter: trained through the unmodified Tinker SDK on the same server, every token counted."""

from collections.abc import Callable, Sequence
from typing import Any

import tinker
import torch
from tinker import types

from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message
from benchmarks.loop.people.task import Item

RANK = 16
"""That of the loop's own recipes."""
_A_BATCH = 48
"""Sequences in one request."""


class Student:
    """Not thread-safe. `spent` counts the tokens of every pass and every sample, prompts included."""

    def __init__(self, url: str, key: str, model: str, renderer: Renderer) -> None:
        self._service = tinker.ServiceClient(base_url=url, api_key=key)
        self._run = self._service.create_lora_training_client(base_model=model, rank=RANK).result()
        self._renderer = renderer
        self.spent = 0
        self.steps = 0

    def prompt(self, item: Item) -> list[int]:
        return list(self._renderer.render([Message(role, content) for role, content in item.messages]))  # pyright: ignore[reportArgumentType]

    def answer(self, text: str) -> list[int]:
        return list(self._renderer.answer(text))

    def imitate(self, examples: Sequence[tuple[list[int], list[int]]], rate: float) -> None:
        """One step of cross entropy: the mean over the tokens of an answer, and over the answers."""
        data = [
            self._datum(prompt, answer, weights=[1.0 / len(answer) / len(examples)] * len(answer))
            for prompt, answer in examples
        ]
        self._step(self._forward_backward(data, "cross_entropy"), rate)

    def logprobs(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        """Of the tokens of each answer, under the adapter as it is."""
        data = [self._datum(prompt, answer, weights=[0.0] * len(answer)) for prompt, answer in pairs]
        found: list[list[float]] = []
        for start in range(0, len(data), _A_BATCH):
            part = data[start : start + _A_BATCH]
            output = self._run.forward(part, "cross_entropy").result()
            self._count(part)
            found += [list(one["logprobs"].data) for one in output.loss_fn_outputs]
        return [values[-len(answer) :] for values, (_, answer) in zip(found, pairs, strict=True)]

    def custom(
        self,
        pairs: Sequence[tuple[list[int], list[int]]],
        loss: Callable[[list[torch.Tensor]], torch.Tensor],
        rate: float,
    ) -> None:
        """One step on a loss of the answers' log-probabilities."""
        data = [self._datum(prompt, answer, weights=[1.0] * len(answer)) for prompt, answer in pairs]

        def compute(_: list[types.Datum], logprobs: list[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
            ends = [values[-len(answer) :] for values, (_, answer) in zip(logprobs, pairs, strict=True)]
            value = loss(ends)
            return value, {"loss": float(value.detach())}

        self._count(data, passes=2)
        self._run.forward_backward_custom(data, compute).result()
        self._step([], rate)

    def reinforce(self, rollouts: Sequence[tuple[list[int], list[int], list[float], float]], rate: float) -> None:
        """One PPO step on (prompt, answer, its log-probabilities, advantage)."""
        data = [
            self._datum(prompt, answer, logprobs=logprobs, advantages=[advantage / len(rollouts)] * len(answer))
            for prompt, answer, logprobs, advantage in rollouts
        ]
        self._step(self._forward_backward(data, "ppo"), rate)

    def sample(
        self, prompts: Sequence[list[int]], n: int, tokens: int, seed: int
    ) -> list[list[tuple[list[int], list[float]]]]:
        """`n` answers to each prompt at temperature 1, with their log-probabilities."""
        sampler = self._run.save_weights_and_get_sampling_client().result()
        params = types.SamplingParams(
            max_tokens=tokens, temperature=1.0, seed=seed, stop=list(self._renderer.stop_tokens)
        )
        waiting = [sampler.sample(types.ModelInput.from_ints(prompt), n, params) for prompt in prompts]
        replies = [
            [(list(one.tokens), list(one.logprobs or [])) for one in future.result().sequences] for future in waiting
        ]
        self.spent += sum(map(len, prompts)) + sum(len(tokens) for group in replies for tokens, _ in group)
        return replies

    def text(self, tokens: Sequence[int]) -> str:
        return self._renderer.decode(tokens)

    def save(self, name: str) -> str:
        """The path under which the chat endpoint serves the adapter as it is now."""
        return self._run.save_weights_for_sampler(name=name).result().path

    def _forward_backward(self, data: list[types.Datum], loss: Any) -> list[Any]:
        self._count(data)
        parts = [data[start : start + _A_BATCH] for start in range(0, len(data), _A_BATCH)]
        return [self._run.forward_backward(part, loss) for part in parts]

    def _step(self, passes: Sequence[Any], rate: float) -> None:
        stepped = self._run.optim_step(types.AdamParams(learning_rate=rate))
        for each in passes:
            each.result()
        stepped.result()
        self.steps += 1

    def _count(self, data: Sequence[types.Datum], passes: int = 1) -> None:
        self.spent += passes * sum(datum.model_input.length for datum in data)

    @staticmethod
    def _datum(prompt: list[int], answer: list[int], **columns: list[float]) -> types.Datum:
        full = [*prompt, *answer]
        blank = [0.0] * (len(prompt) - 1)
        inputs = {
            name: types.TensorData(data=[*blank, *values], dtype="float32", shape=[len(full) - 1])
            for name, values in columns.items()
        }
        inputs["target_tokens"] = types.TensorData(data=full[1:], dtype="int64", shape=[len(full) - 1])
        return types.Datum(model_input=types.ModelInput.from_ints(full[:-1]), loss_fn_inputs=inputs)
