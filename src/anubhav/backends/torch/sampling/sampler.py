"""Continuous batching, synchronous and without a thread of its own: each `step` is one forward pass.

It takes a token of every sample that grows and a chunk of the prompts that are being read, so that a long prompt never
stalls those who speak. Prompts that begin alike are read once, by whole pages and for as long as their pages last;
adapters mix freely in a batch. Tenants take turns, and classes of priority go before one another: when the cache is
full, whoever came last in the lowest class gives its pages back and is read again later.
Axes: T tokens of a step, B rows that are drawn for, U distributions they are drawn from, E hidden, V vocabulary.
"""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import chain
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.failures import told
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.routing import Routing
from anubhav.backends.torch.sampling.bending import redraw
from anubhav.backends.torch.sampling.draw import likeliest, speak
from anubhav.backends.torch.sampling.kv import KvCache, affordable_pages
from anubhav.backends.torch.sampling.pages import PAGE, Pages
from anubhav.backends.torch.sampling.prompts import score_prompt
from anubhav.backends.torch.sampling.speakers import Speaker, Speakers
from anubhav.backends.torch.sampling.stack import find_stack
from anubhav.backends.torch.sampling.turns import Turns
from anubhav.backends.torch.sampling.voices import Reading, Strand, Voice, begin_reading, note_routes
from anubhav.errors import AnubhavError
from anubhav.types.sampling import PromptScores, Sampled, StopReason

_ROWS: Final = 64
"""Of one tenant, at a time."""
_CHUNK: Final = 512
"""Prompt tokens per step while nobody is kept waiting by them."""
_CHUNK_BESIDE: Final = 128
"""The same, beside rows of another tenant."""
_CHUNK_BETWEEN: Final = 32
"""The same, between the tokens of a chat; a large batch takes twice its own size."""
_OWED: Final = 512
_LEVEL: Final = 32
"""In tokens, read or written: what a tenant that comes back may catch up on, and within which tenants share a batch."""
_ORDER: Final = {"interactive": 0, "rollout": 1, "training": 2}
_KEPT_CREWS: Final = 8

Item = Voice | Reading


class Sampling:
    def __init__(self, model: Decoder, *, cache_bytes: int | None = None) -> None:
        """`cache_bytes`: of keys and values; by default what suits the machine."""
        self._model = model
        self._turns = Turns(owed=_OWED, level=_LEVEL)
        self._pages = Pages(affordable_pages(model.config, model.dtype.itemsize, cache_bytes))
        self._cache = KvCache(model.config, model.device, model.dtype, self._pages.count)
        self._stack = find_stack(model, self._cache)
        self._waiting: dict[tuple[int, str], deque[Voice]] = {}
        """By class and tenant; none is empty."""
        self._reading: list[Reading] = []
        self._running: list[Voice] = []
        self._crews: dict[tuple[int, ...], Speakers] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._reading or self._running)

    @property
    def chatting(self) -> bool:
        """Whether somebody is watching words come."""
        chats = any(voice.request.priority == "interactive" for voice in (*self._running, *self._readers()))
        return chats or any(order == _ORDER["interactive"] for order, _ in self._waiting)

    @property
    def capacity(self) -> int:
        """Tokens that one sequence can have."""
        return min(self._model.config.context, self._pages.count * PAGE)

    def add(self, voices: list[Voice]) -> None:
        for voice in voices:
            request = voice.request
            self._waiting.setdefault((_ORDER[request.priority], request.tenant), deque()).append(voice)

    def fail(self, error: AnubhavError) -> None:
        """End everything with `error`: the state of the batch is unknown."""
        for voice in (*self._running, *self._readers(), *chain.from_iterable(self._waiting.values())):
            voice.emit(error)
            voice.cancelled = True
        self._sweep()
        self._pages.forget()

    @torch.no_grad()
    def step(self) -> None:
        """One token for every running row whose tenant may go on, and a chunk of what is to be read."""
        self._sweep()
        self._admit()
        items: list[tuple[Item, int]] = [(voice, 1) for voice in self._with_room(self._going())]
        items += self._chunks()
        for item, count in items:
            first = item if isinstance(item, Voice) else item.voices[0]
            self._turns.charge(first.request.tenant, count)
        if items:
            self._insist(items)
        self._sweep()

    # Who goes on

    def _sweep(self) -> None:
        """Let go of what is done or not wanted any more."""
        left = {key: deque(voice for voice in queue if not voice.cancelled) for key, queue in self._waiting.items()}
        self._waiting = {key: queue for key, queue in left.items() if queue}
        for reading in self._reading:
            reading.voices = [voice for voice in reading.voices if not voice.cancelled]
            if not reading.voices:
                self._pages.let_go(reading.strand.pages)
        self._reading = [reading for reading in self._reading if reading.voices]
        for voice in self._running:
            if voice.cancelled:
                self._pages.let_go(voice.strand.pages)
        self._running = [voice for voice in self._running if not voice.cancelled]
        tenants = {voice.request.tenant for voice in (*self._running, *self._readers())}
        self._turns.want(tenants.union(tenant for _, tenant in self._waiting))

    def _readers(self) -> list[Voice]:
        return [voice for reading in self._reading for voice in reading.voices]

    def _admit(self) -> None:
        """Begin to read for those who wait, as far as rows, pages and the next step's chunk go."""
        rows = Counter(voice.request.tenant for voice in (*self._running, *self._readers()))
        level = self._turns.level({*rows, *(tenant for _, tenant in self._waiting)})
        queues = {key: queue for key, queue in self._waiting.items() if key[1] in level}
        for (_, tenant), queue in sorted(queues.items(), key=lambda item: (item[0][0], level.index(item[0][1]))):
            later: list[Voice] = []
            while queue and rows[tenant] < _ROWS:
                voice = queue.popleft()
                if self._join(voice):
                    rows[tenant] += 1
                elif self._is_being_read(voice):
                    later.append(voice)
                elif sum(reading.left for reading in self._reading) < self._chunk() and self._begin(voice):
                    rows[tenant] += 1
                else:
                    later.append(voice)
                    break
            queue.extendleft(reversed(later))
        self._waiting = {key: queue for key, queue in self._waiting.items() if queue}

    def _join(self, voice: Voice) -> bool:
        """Share a prompt that is being read."""
        for reading in self._reading:
            if reading.fits(voice):
                reading.voices.append(voice)
                return True
        return False

    def _is_being_read(self, voice: Voice) -> bool:
        """Whether to wait for somebody who is at the same beginning, of which not all is known yet."""
        return any(
            reading.voices[0].salt == voice.salt
            and min(_common(reading.text, voice.text), voice.unasked) // PAGE > reading.filled // PAGE
            for reading in self._reading
        )

    def _begin(self, voice: Voice) -> bool:
        # A page for each that runs is left, or what is read now would be sent back at once.
        reading = begin_reading(voice, self._pages, spare=len(self._running))
        if reading:
            self._reading.append(reading)
        elif not self._running and not self._reading:
            self._end(voice)  # it had all of the cache, and that was not enough
        return reading is not None

    def _chunk(self) -> int:
        """Prompt tokens for the next step."""
        if any(voice.request.priority == "interactive" for voice in self._running):
            return max(_CHUNK_BETWEEN, 2 * len(self._running))
        tenants = {voice.request.tenant for voice in (*self._running, *self._readers())}
        return _CHUNK if len(tenants) < 2 or not self._running else _CHUNK_BESIDE

    def _chunks(self) -> list[tuple[Item, int]]:
        left, chunks = self._chunk(), list[tuple[Item, int]]()
        for reading in self._reading:
            if left > 0:
                chunks.append((reading, min(left, reading.left)))
                left -= reading.left
        return chunks

    def _going(self) -> list[Voice]:
        """Those to decode: all that run, unless few of them are of tenants that must catch up first."""
        level = self._turns.level({voice.request.tenant for voice in (*self._running, *self._readers())})
        going = [voice for voice in self._running if voice.request.tenant in level]
        # Most of a batch costs about as much as all of it.
        return going if 2 * len(going) < len(self._running) else list(self._running)

    def _with_room(self, going: list[Voice]) -> list[Voice]:
        """Those that have a page for their next token, at others' cost where there is none left."""
        for voice in sorted(going, key=lambda voice: _ORDER[voice.request.priority]):
            while voice in self._running and not voice.grown(self._pages):
                self._make_room(voice)
        return [voice for voice in going if voice in self._running]

    def _make_room(self, wanting: Voice) -> None:
        """Send whoever came last in the lowest class back to wait. Who is alone and has all of the cache ends here."""
        last = max(self._running, key=lambda voice: (_ORDER[voice.request.priority], self._running.index(voice)))
        lowest = max(self._reading, key=lambda reading: _ORDER[reading.voices[0].request.priority], default=None)
        if lowest and _ORDER[lowest.voices[0].request.priority] >= _ORDER[last.request.priority]:
            self._reading.remove(lowest)
            self._send_back(lowest.voices, lowest.strand)
        elif last is wanting and len(self._running) == 1 and not self._reading:
            self._end(last)
            self._sweep()
        else:
            self._running.remove(last)
            self._send_back([last], last.strand)

    def _end(self, voice: Voice) -> None:
        voice.emit(Sampled(voice.index, (), (), stop_reason="length"))
        voice.cancelled = True

    def _send_back(self, voices: list[Voice], strand: Strand) -> None:
        self._pages.let_go(strand.pages)
        for voice in reversed(voices):
            voice.strand = Strand()
            key = (_ORDER[voice.request.priority], voice.request.tenant)
            self._waiting.setdefault(key, deque()).appendleft(voice)

    # What is done for them

    def _insist(self, items: Sequence[tuple[Item, int]]) -> None:
        """Do this step for all of them but those that it fails for alone, which end by that."""
        before = [_progress(item) for item, _ in items]
        try:
            self._advance(items)
            return
        except Exception as problem:  # noqa: BLE001 - told to whom it concerns
            failure = told(problem)
        # Out of the handler, so that what the attempt allocated is free again.
        left = [pair for pair, progress in zip(items, before, strict=True) if _progress(pair[0]) == progress]
        if len(items) == 1:
            item = items[0][0]
            for voice in [item] if isinstance(item, Voice) else item.voices:
                voice.emit(failure)
                voice.cancelled = True
        elif left:
            half = -(-len(left) // 2)
            self._insist(left[:half])
            self._insist(left[half:])

    def _advance(self, items: Sequence[tuple[Item, int]]) -> None:
        """One forward pass, and a token for everybody whose turn to speak has come."""
        parts = [item.part if isinstance(item, Voice) else item.part(count) for item, count in items]
        tokens = [
            token
            for (item, _), part in zip(items, parts, strict=True)
            for token in (item.tokens[-1:] if isinstance(item, Voice) else item.text[part.start :][: part.count])
        ]
        positions = [place for part in parts for place in range(part.start, part.start + part.count)]
        owners = [item if isinstance(item, Voice) else item.voices[0] for item, _ in items]
        crew = self._crew([owner.speaker for owner, part in zip(owners, parts, strict=True) for _ in range(part.count)])
        device = self._model.device
        self._cache.begin(parts)
        places, routing = torch.tensor(positions, device=device), Routing()
        tokens_T = torch.tensor(tokens, device=device)
        if self._stack and len(tokens) == len(parts) and self._stack.takes(len(tokens), crew):
            hidden_TE = self._stack.hidden(tokens_T, places, crew)
        else:
            hidden_TE = self._model.hidden(tokens_T, places, crew, self._cache.attend, None, routing)
        note_routes(items, routing)
        self._conclude(items, hidden_TE)

    def _conclude(self, items: Sequence[tuple[Item, int]], hidden_TE: Tensor) -> None:
        heard: list[tuple[int, Item]] = []
        """Whose text ends in which row."""
        at = 0
        for item, count in items:
            if isinstance(item, Reading) and item.hidden is not None:
                item.hidden = [*item.hidden[: item.chunks], hidden_TE[at : at + count]]
            at += count
            if isinstance(item, Voice) or count == item.left:
                heard.append((at - 1, item))
        logits_UV = self._logits(hidden_TE, heard) if heard else hidden_TE
        speaking: list[Voice] = []
        rows: list[int] = []
        news: dict[Voice, tuple[PromptScores | None, int]] = {}
        begun: list[Voice] = []
        for row, (_, item) in enumerate(heard):
            voices = [item] if isinstance(item, Voice) else self._finish(item, news)
            begun += [] if isinstance(item, Voice) else voices
            speaking += voices
            rows += [row] * len(voices)
        if speaking:
            logits_BV = logits_UV if rows == list(range(len(logits_UV))) else logits_UV[rows]
            self._speak(speaking, logits_BV, news)
        # Nothing fails from here on, so a step that did fail can be done again.
        self._running += begun
        for item, count in items:
            if isinstance(item, Reading):
                item.advance(count, self._pages)
        self._reading = [reading for reading in self._reading if reading.left]

    def _logits(self, hidden_TE: Tensor, heard: list[tuple[int, Item]]) -> Tensor:
        rows = [row for row, _ in heard]
        owners = [item if isinstance(item, Voice) else item.voices[0] for _, item in heard]
        hidden_UE = hidden_TE if rows == list(range(len(hidden_TE))) else hidden_TE[rows]
        return self._model.logits(hidden_UE, self._crew([owner.speaker for owner in owners]))

    def _finish(self, reading: Reading, news: dict[Voice, tuple[PromptScores | None, int]]) -> list[Voice]:
        """Give every voice of a prompt that is read a strand of its own, which then runs."""
        first, *others = reading.voices
        payer = first.request
        length = len(reading.text)
        for voice in reading.voices:
            scores = self._score(voice, reading)
            news[voice] = (scores, reading.cached if voice.request is payer else length)
        started = [first]
        for voice in others:
            if self._fork(reading, voice):
                started.append(voice)
            else:
                self._send_back([voice], Strand())
        first.strand = reading.strand
        reading.voices = started
        return started

    def _score(self, voice: Voice, reading: Reading) -> PromptScores | None:
        if not voice.scores or reading.hidden is None:
            return None
        adapter = voice.speaker and voice.speaker.adapter
        return score_prompt(self._model, adapter, torch.cat(reading.hidden), voice.request, voice.seed, reading.cached)

    def _fork(self, reading: Reading, voice: Voice) -> bool:
        """Full pages are shared; the one that is not full is copied, as each will write on in it."""
        self._pages.let_go(voice.strand.pages)  # of an attempt that failed
        voice.strand = Strand()
        full = len(reading.text) // PAGE
        rest = reading.strand.pages[full:]
        own = [page for page in (self._pages.take() for _ in rest) if page is not None]
        if len(own) < len(rest):
            self._pages.let_go(own)
            return False
        for source, target in zip(rest, own, strict=True):
            self._cache.copy(source, target)
        for page in reading.strand.pages[:full]:
            self._pages.share(page)
        voice.strand = Strand([*reading.strand.pages[:full], *own], list(reading.names[:full]))
        return True

    def _speak(
        self, voices: list[Voice], logits_BV: Tensor, news: dict[Voice, tuple[PromptScores | None, int]]
    ) -> None:
        requests = [voice.request for voice in voices]
        steps = [(voice.seed, voice.index, len(voice.tokens)) for voice in voices]
        free = speak(logits_BV, [request.params for request in requests], steps)
        drawn = redraw(voices, logits_BV, free, steps)
        for place, (voice, (token, logprob)) in enumerate(zip(voices, drawn, strict=True)):
            voice.tokens.append(token)
            k = voice.request.top_logprobs
            likely = (likeliest(logits_BV[place], voice.request.params, k),) if k else ()
            reason = self._ended(voice)
            said = news.get(voice, (None, 0))
            voice.emit(Sampled(voice.index, (token,), (logprob,), likely, reason, *said, voice.say_routes()))
            voice.cancelled = voice.cancelled or reason is not None
            voice.name_last(self._pages)

    def _ended(self, voice: Voice) -> StopReason | None:
        if voice.tokens[-1] in voice.request.params.stop_tokens or (voice.bend and voice.bend.over(voice.tokens)):
            return "stop"
        full = len(voice.request.prompt) + len(voice.tokens) >= self._model.config.context
        return "length" if full or len(voice.tokens) >= voice.request.params.max_tokens else None

    def _crew(self, speakers: list[Speaker | None]) -> Speakers:
        """The same batch's from step to step: gathering addresses takes longer than using them."""
        key = tuple(-1 if speaker is None else speaker.serial for speaker in speakers)
        crew = self._crews.pop(key, None) or Speakers(self._model.config, speakers, self._model.device)
        self._crews[key] = crew
        if len(self._crews) > _KEPT_CREWS:
            del self._crews[next(iter(self._crews))]
        return crew


def _progress(item: Item) -> int:
    return len(item.tokens) if isinstance(item, Voice) else item.filled


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
