"""What is on its way through the sampler: samples that grow, and prompts that are read for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from anubhav.backends.bending import Bend
from anubhav.backends.torch.models.routing import Routing, told
from anubhav.backends.torch.sampling.kv import Part
from anubhav.backends.torch.sampling.pages import PAGE, Pages, names_of, pages_for
from anubhav.backends.torch.sampling.speakers import Speaker
from anubhav.types.arrays import Array
from anubhav.types.sampling import Sampled, SampleRequest

Emit = Callable[[Sampled | Exception], None]


@dataclass(slots=True)
class Strand:
    """A sequence's pages, and the names of the full ones among them, from the first on."""

    pages: list[int] = field(default_factory=list[int])
    names: list[bytes] = field(default_factory=list[bytes])


@dataclass(slots=True, eq=False)
class Voice:
    """One sample."""

    request: SampleRequest
    index: int
    seed: int
    speaker: Speaker | None
    emit: Emit
    bend: Bend | None = None
    tokens: list[int] = field(default_factory=list[int])
    cancelled: bool = False
    strand: Strand = field(default_factory=Strand)
    routes_TLK: Tensor | None = None
    """Where what was computed last for it went, if that is asked for: its prompt, or its newest token."""
    said: int = 0
    """For how many of its tokens that was told."""

    @property
    def salt(self) -> bytes:
        """Whose pages these are: another tenant's, or another adapter's, are never read."""
        serial = -1 if self.speaker is None else self.speaker.serial
        return f"{self.request.tenant}\0{serial}".encode()

    @property
    def text(self) -> tuple[int, ...]:
        return (*self.request.prompt, *self.tokens)

    @property
    def length(self) -> int:
        """Tokens in the cache, once it speaks: all but the newest."""
        return len(self.request.prompt) + len(self.tokens) - 1

    @property
    def scores(self) -> bool:
        """Whether it is the one of its request that scores the prompt, and has not done so."""
        return self.request.scores_prompt and self.index == self.request.first_index and not self.tokens

    @property
    def unasked(self) -> int:
        """Tokens it begins with of which nothing but keys and values is wanted: they may come from the cache."""
        request, last = self.request, len(self.text) - 1
        if not self.scores:
            # The last token is always computed: what follows it is drawn from its hidden state.
            return 0 if request.routes else last
        every = request.prompt_last is None or request.prompt_targets or request.prompt_draws or request.routes
        return 0 if every else max(0, last - (request.prompt_last or 0))

    @property
    def part(self) -> Part:
        """Its next step."""
        return Part(self.strand.pages, self.length, 1)

    def say_routes(self) -> Array | None:
        """Of the tokens that it was not told of. One that was sent back reads again what was told already."""
        if self.routes_TLK is None:
            return None
        told_before = max(0, len(self.routes_TLK) - (self.length - self.said))
        self.said = self.length
        return told(self.routes_TLK[told_before:])

    def grown(self, pages: Pages) -> bool:
        """Whether it has room for its next step, a page more if need be."""
        if self.length < len(self.strand.pages) * PAGE:
            return True
        page = pages.take()
        if page is None:
            return False
        self.strand.pages.append(page)
        return True

    def name_last(self, pages: Pages) -> None:
        """Make its last page known if the step just done filled it: what is said now may be the next turn's prompt."""
        filled = self.length
        if filled % PAGE or len(self.strand.names) != filled // PAGE - 1:
            return
        before = self.strand.names[-1] if self.strand.names else self.salt
        self.strand.names += names_of(self.text[filled - PAGE : filled], before)
        pages.name(self.strand.pages[filled // PAGE - 1], self.strand.names[-1])


@dataclass(slots=True, eq=False)
class Reading:
    """A prompt on its way into the cache, chunk by chunk, for all voices that have it."""

    text: tuple[int, ...]
    names: list[bytes]
    """Of all its full pages, known or not."""
    voices: list[Voice]
    """The first one's request pays."""
    strand: Strand
    filled: int
    """Tokens in the cache."""
    cached: int
    """Those that were there already."""
    hidden: list[Tensor] | None
    """Of each chunk read so far, where somebody scores the prompt; they begin behind what was cached."""
    chunks: int = 0
    routes: list[Tensor] | None = None
    """Of each chunk read so far, where somebody wants to know which experts it went to."""

    @property
    def left(self) -> int:
        return len(self.text) - self.filled

    def part(self, count: int) -> Part:
        return Part(self.strand.pages, self.filled, min(count, self.left))

    def fits(self, voice: Voice) -> bool:
        """Whether a voice that comes later can share this."""
        first = self.voices[0]
        same = voice.salt == first.salt and voice.text == self.text
        known = not voice.request.routes or self.routes is not None
        return same and known and (not voice.scores or (self.hidden is not None and self.cached <= voice.unasked))

    def advance(self, count: int, pages: Pages) -> None:
        """So many tokens more are in the cache; pages that are full now are known."""
        self.filled += count
        self.chunks += 1
        for number in range(len(self.strand.names), self.filled // PAGE):
            pages.name(self.strand.pages[number], self.names[number])
            self.strand.names.append(self.names[number])


def begin_reading(voice: Voice, pages: Pages, *, spare: int) -> Reading | None:
    """Take what the voice's prompt needs of the cache; None when that would not leave `spare` pages."""
    text = voice.text
    names = names_of(text, voice.salt)
    found = pages.find(names[: voice.unasked // PAGE])
    more = pages_for(len(text) + 1) - len(found)
    if more + spare > pages.room:
        pages.let_go(found)
        return None
    taken = [page for page in (pages.take() for _ in range(more)) if page is not None]
    strand = Strand([*found, *taken], names[: len(found)])
    cached = len(found) * PAGE
    routes = list[Tensor]() if voice.request.routes else None
    return Reading(text, names, [voice], strand, cached, cached, [] if voice.scores else None, routes=routes)


def note_routes(items: Sequence[tuple[Voice | Reading, int]], routing: Routing) -> None:
    """Keep where the tokens of a step went, for those who asked; a step that failed may be noted again."""
    if not routing.chosen:
        return
    chosen_TLK, at = routing.all_chosen(), 0
    for item, count in items:
        mine_TLK = chosen_TLK[at : at + count]
        at += count
        if isinstance(item, Voice):
            item.routes_TLK = mine_TLK if item.request.routes else None
        elif item.routes is not None:
            item.routes = [*item.routes[: item.chunks], mine_TLK]
            for voice in item.voices if count == item.left else ():
                voice.routes_TLK = torch.cat(item.routes) if voice.request.routes else None
