"""Continuous batching, synchronous and without a thread of its own: each `step` admits and prefills, or decodes once.

Equal prompts are prefilled once and prompts that begin alike share that work; adapters mix freely in a batch. Tenants
take turns: rows of one that is ahead wait in the cache.
Axes: T prompt tokens, B running rows, E hidden.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.adapters import Adapter
from anubhav.backends.torch.draw import draw, scale, top, uniform
from anubhav.backends.torch.failures import told
from anubhav.backends.torch.kv import KvCache
from anubhav.backends.torch.lora import Segment
from anubhav.backends.torch.model import Model
from anubhav.backends.torch.packing import Pack, pack
from anubhav.backends.torch.prompts import score_prompt
from anubhav.backends.torch.turns import Turns
from anubhav.errors import AnubhavError
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, StopReason

_ROWS: Final = 64
"""Of one tenant, at a time."""
_CACHE_BYTES: Final = 4 << 30
_PREFILL: Final = 1024
"""Prompt tokens per prefill step, so that a burst of prompts cannot hold up running streams for long."""
_PREFILL_BESIDE: Final = 128
"""The same, beside rows of another tenant."""
_OWED: Final = 512
_LEVEL: Final = 32
"""In tokens, read or written: what a tenant that comes back may catch up on, and within which tenants share a batch."""
_ORDER: Final = {"interactive": 0, "rollout": 1, "training": 2}

Emit = Callable[[Sampled | Exception], None]


@dataclass(slots=True)
class Voice:
    """One sample on its way."""

    request: SampleRequest
    index: int
    seed: int
    adapter: Adapter | None
    emit: Emit
    tokens: list[int] = field(default_factory=list[int])
    cancelled: bool = False

    @property
    def length(self) -> int:
        """Tokens in the cache: all but the newest."""
        return len(self.request.prompt) + len(self.tokens) - 1

    @property
    def reach(self) -> int:
        return len(self.request.prompt) + self.request.params.max_tokens


class Sampling:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._turns = Turns(owed=_OWED, level=_LEVEL)
        self._cache = KvCache(model.config, model.device, model.dtype)
        self._waiting: dict[tuple[int, str], deque[Voice]] = {}
        """By class and tenant; none is empty."""
        self._running: list[Voice] = []
        config = model.config
        self._token_bytes = 2 * config.layers * config.kv_width * model.dtype.itemsize

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    def uses(self, adapter: Adapter) -> bool:
        waiting = chain.from_iterable(self._waiting.values())
        return any(voice.adapter is adapter for voice in (*self._running, *waiting))

    def add(self, voices: list[Voice]) -> None:
        for voice in voices:
            request = voice.request
            self._waiting.setdefault((_ORDER[request.priority], request.tenant), deque()).append(voice)

    def fail(self, error: AnubhavError) -> None:
        """End everything with `error`: the state of the batch is unknown."""
        for voice in (*self._running, *chain.from_iterable(self._waiting.values())):
            voice.emit(error)
        self._running, self._waiting = [], {}
        self._cache.release()
        self._tell()

    @torch.no_grad()
    def step(self) -> None:
        """Prefill what can be admitted, else decode one token for every running row whose tenant may go on."""
        self._sweep()
        if admitted := self._admit():
            for voice in admitted:
                self._turns.charge(voice.request.tenant, len(voice.request.prompt))
            self._insist(admitted, self._prefill)
        elif self._running:
            going = self._going()
            for voice in going:
                self._turns.charge(voice.request.tenant, 1)
            self._insist(going, self._decode)
        self._sweep()
        if not self.busy:
            self._cache.release()

    def _insist(self, voices: list[Voice], work: Callable[[list[Voice]], None]) -> None:
        """Do this for all of them but those that it fails for alone, which end by that."""
        said = [len(voice.tokens) for voice in voices]
        try:
            work(voices)
            return
        except Exception as problem:  # noqa: BLE001 - told to whom it concerns
            failure = told(problem)
        # Out of the handler, so that what the attempt allocated is free again.
        left = [voice for voice, before in zip(voices, said, strict=True) if len(voice.tokens) == before]
        if len(voices) == 1:
            voices[0].emit(failure)
            voices[0].cancelled = True
        elif left:
            half = -(-len(left) // 2)
            self._insist(left[:half], work)
            self._insist(left[half:], work)

    def _sweep(self) -> None:
        """Let go of what is done or not wanted any more."""
        left = {key: deque(voice for voice in queue if not voice.cancelled) for key, queue in self._waiting.items()}
        self._waiting = {key: queue for key, queue in left.items() if queue}
        self._leave(lambda voice: voice.cancelled)
        self._tell()

    def _tell(self) -> None:
        tenants = {voice.request.tenant for voice in self._running}
        self._turns.want(tenants.union(tenant for _, tenant in self._waiting))

    def _admit(self) -> list[Voice]:
        admitted: list[Voice] = []
        running = Counter(voice.request.tenant for voice in self._running)
        level = self._turns.level({*running, *(tenant for _, tenant in self._waiting)})
        queues = {key: queue for key, queue in self._waiting.items() if key[1] in level}
        for (_, tenant), queue in sorted(queues.items(), key=lambda item: (item[0][0], level.index(item[0][1]))):
            budget = _PREFILL if running.keys() <= {tenant} else _PREFILL_BESIDE
            while queue and running[tenant] < _ROWS:
                if not self._fits(queue[0], admitted, budget):
                    return admitted
                running[tenant] += 1
                admitted.append(queue.popleft())
        return admitted

    def _fits(self, voice: Voice, admitted: list[Voice], budget: int) -> bool:
        """`budget`: prompt tokens for this step. A single row always fits."""
        several = [*self._running, *admitted, voice]
        need = len(several) * max(other.reach for other in several) * self._token_bytes
        tokens = sum(map(len, {other.request.prompt for other in (*admitted, voice)}))
        return len(several) == 1 or (need <= _CACHE_BYTES and (not admitted or tokens <= budget))

    def _going(self) -> list[Voice]:
        """Those to decode: all that run, unless few of them are of tenants that must catch up first."""
        level = self._turns.level({voice.request.tenant for voice in self._running})
        going = [voice for voice in self._running if voice.request.tenant in level]
        # Most of a batch costs about as much as all of it.
        return going if 2 * len(going) < len(self._running) else list(self._running)

    def _prefill(self, admitted: list[Voice]) -> None:
        longest = max(len(voice.request.prompt) for voice in admitted)
        self._leave(lambda voice: not voice.tokens)  # what is left of an attempt that failed
        self._cache.reserve(len(self._running) + len(admitted), longest + 1)
        for _, group in groupby(sorted(admitted, key=_adapter_order), key=_adapter_order):
            voices = list(group)
            rows = range(len(self._running), len(self._running) + len(voices))
            self._running.extend(voices)
            prompts = sorted({voice.request.prompt for voice in voices})
            owners = [[row for row, v in zip(rows, voices, strict=True) if v.request.prompt == p] for p in prompts]
            for one in pack(prompts, _PREFILL, self._model.device):
                self._read(one, owners)

    def _read(self, one: Pack, owners: list[list[int]]) -> None:
        """Compute a pack of prompts, fill the rows that own them, and draw each row's first token."""
        places = {number: torch.tensor(rows) for number, rows in one.rows.items()}
        first = self._running[owners[next(iter(places))][0]]
        segments = [Segment(first.adapter)] if first.adapter else []

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for number, rows in places.items():
                for row in owners[number]:
                    self._cache.store(layer, row, k[rows], v[rows])
            return one.attend(layer, q, k, v)

        device = self._model.device
        tokens_T, positions_T = torch.tensor(one.tokens, device=device), torch.tensor(one.positions, device=device)
        hidden_TE = self._model.hidden(tokens_T, positions_T, segments, attend)
        heard = [(row, rows) for number, rows in places.items() for row in owners[number]]
        cached = _cached(one, [[self._running[row] for row in rows] for rows in owners])
        news = {
            row: (self._score_prompt(self._running[row], hidden_TE[rows]), cached[id(self._running[row])])
            for row, rows in heard
        }
        last_BE = hidden_TE[torch.stack([rows[-1] for _, rows in heard])]
        self._speak([row for row, _ in heard], self._model.logits(last_BE, segments), news)

    def _decode(self, voices: list[Voice]) -> None:
        places = {id(voice): row for row, voice in enumerate(self._running)}
        rows = [places[id(voice)] for voice in voices]
        lengths = [voice.length for voice in voices]
        self._cache.reserve(len(self._running), max(lengths) + 1)
        self._cache.begin_step(rows, lengths)
        device = self._model.device
        tokens_B = torch.tensor([voice.tokens[-1] for voice in voices], device=device)
        segments = list(_segments(voices, device))
        hidden_BE = self._model.hidden(tokens_B, torch.tensor(lengths, device=device), segments, self._cache.attend)
        self._speak(rows, self._model.logits(hidden_BE, segments), {})

    def _speak(self, rows: list[int], logits_BV: Tensor, news: dict[int, tuple[PromptScores | None, int]]) -> None:
        """`news`: by row, what a first event says of its prompt."""
        voices = [self._running[row] for row in rows]
        params = [voice.request.params for voice in voices]
        logprobs_BV = scale(logits_BV, params)
        uniforms = [uniform(voice.seed, voice.index, len(voice.tokens)) for voice in voices]
        drawn_B = draw(logprobs_BV, params, uniforms)
        chosen = logprobs_BV.gather(-1, drawn_B[:, None])[:, 0].tolist()
        for place, (row, voice, token) in enumerate(zip(rows, voices, drawn_B.tolist(), strict=True)):
            voice.tokens.append(token)
            k = voice.request.top_logprobs
            likely = (top(logprobs_BV[place], k),) if k else ()
            reason = self._ended(voice)
            said = news.get(row, (None, 0))
            voice.emit(Sampled(voice.index, (token,), (chosen[place],), likely, reason, *said))
            voice.cancelled = voice.cancelled or reason is not None

    def _ended(self, voice: Voice) -> StopReason | None:
        if voice.tokens[-1] in voice.request.params.stop_tokens:
            return "stop"
        full = len(voice.request.prompt) + len(voice.tokens) >= self._model.config.context
        return "length" if full or len(voice.tokens) >= voice.request.params.max_tokens else None

    def _leave(self, gone: Callable[[Voice], bool]) -> None:
        """Take finished rows out; the last row moves into each hole so that rows stay dense."""
        for row in reversed([row for row, voice in enumerate(self._running) if gone(voice)]):
            last = self._running.pop()
            if row < len(self._running):
                self._running[row] = last
                self._cache.move(len(self._running), row, last.length)

    def _score_prompt(self, voice: Voice, hidden_TE: Tensor) -> PromptScores | None:
        request = voice.request
        if voice.index != request.first_index or not request.scores_prompt:
            return None
        return score_prompt(self._model, voice.adapter, hidden_TE, request, voice.seed)


def _cached(one: Pack, owners: list[list[Voice]]) -> dict[int, int]:
    """Per voice (by id), how much of its prompt the pack holds for another request.

    The first request of a branch pays for it; the other samples of a request are not counted, as its prompt is one.
    """
    held: set[int] = set()
    cached: dict[int, int] = {}
    for number, rows in one.rows.items():
        shared = len(held.intersection(rows))
        held.update(rows)
        payer = owners[number][0].request
        for voice in owners[number]:
            cached[id(voice)] = shared if voice.request is payer else len(rows)
    return cached


def _adapter_order(voice: Voice) -> int:
    return id(voice.adapter)


def _segments(voices: list[Voice], device: torch.device) -> Iterator[Segment]:
    kinds = {id(voice.adapter): voice.adapter for voice in voices}
    for kind, adapter in kinds.items():
        if adapter is None:
            continue
        rows = [row for row, voice in enumerate(voices) if id(voice.adapter) == kind]
        yield Segment(adapter, None if len(kinds) == 1 else torch.tensor(rows, device=device))
