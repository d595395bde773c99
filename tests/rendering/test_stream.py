import time
from collections.abc import Sequence

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from anubhav.rendering.renderer import Renderer
from anubhav.rendering.stream import StopStrings, TextStream

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def cut(draw: st.DrawFn, whole: st.SearchStrategy[list[int] | str]) -> list[list[int] | str]:
    """Something whole, cut into pieces anywhere."""
    value = draw(whole)
    borders = sorted(draw(st.lists(st.integers(0, len(value)), max_size=12)))
    return [value[start:end] for start, end in zip([0, *borders], [*borders, len(value)], strict=True)]


# Low ids are control tokens and single bytes, where broken characters come from.
TOKENS = st.lists(st.integers(0, 280) | st.integers(0, 49151), max_size=300)


@quick
@given(pieces=cut(TOKENS))
def test_the_pieces_joined_are_the_whole(renderer: Renderer, pieces: list[list[int]]) -> None:
    stream = TextStream(renderer)
    text = "".join(stream.push(piece) for piece in pieces) + stream.flush()
    assert text == renderer.decode([token for piece in pieces for token in piece])


class Metaspace:
    """A decoder of the Llama 2 kind: it strips a leading space, and a run of bytes is text as a whole or not at all."""

    def __init__(self) -> None:
        pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "\u2581he", "llo"]
        self._tokenizer = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, [], unk_token="<unk>"))
        space, strip = decoders.Replace("\u2581", " "), decoders.Strip(" ", 1, 0)
        self._tokenizer.decoder = decoders.Sequence([space, decoders.ByteFallback(), decoders.Fuse(), strip])

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def is_control(self, token: int) -> bool:
        return False


CHARACTERS = st.sampled_from("a\u00e9\u65e5\U0001f917").map(lambda character: [1 + byte for byte in character.encode()])


@quick
@given(groups=st.lists(CHARACTERS | st.integers(257, 260).map(lambda token: [token]), min_size=30, max_size=120))
@example(groups=[[1 + byte for byte in "\u65e5".encode()]] * 40)
def test_the_pieces_joined_are_the_whole_where_bytes_stand_alone(groups: list[list[int]]) -> None:
    decoder = Metaspace()
    stream = TextStream(decoder)
    tokens = [token for group in groups for token in group]
    assert "".join(stream.push([token]) for token in tokens) + stream.flush() == decoder.decode(tokens)


def test_half_a_character_is_held_back(renderer: Renderer) -> None:
    text = "Ünï 🤗 日本"
    stream = TextStream(renderer)
    shown = ""
    for token in renderer.encode(text):
        shown += stream.push([token])
        assert text.startswith(shown)
    assert shown == text and stream.flush() == ""


def test_a_long_stream_costs_no_more_per_token(renderer: Renderer) -> None:
    tokens = renderer.encode("The quick brown fox, 12 times.\n" * 400)
    stream = TextStream(renderer)

    def seconds(part: tuple[int, ...]) -> float:
        started = time.process_time()
        for token in part:
            stream.push([token])
        return time.process_time() - started

    first, _, last = seconds(tokens[:1000]), seconds(tokens[1000:-1000]), seconds(tokens[-1000:])
    assert last < 5 * first


STOPS = st.lists(st.text("ab\n", max_size=4), max_size=3)


@quick
@given(pieces=cut(st.text("abc\n", max_size=20)), stops=STOPS)
@example(pieces=["aba"], stops=["aba", "b"])
def test_the_cut_does_not_depend_on_the_pieces(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop and stop in text]
    watch, shown, stopped = StopStrings(stops), "", False
    for piece in pieces:
        safe, stopped = watch.push(piece)
        shown += safe
    shown += watch.flush()
    assert (shown, stopped) == (text[: min(ends)[1]], True) if ends else (text, False)


def test_a_stop_string_never_shows_and_text_is_not_held_longer_than_needed() -> None:
    watch = StopStrings(["\nUser:"])
    assert watch.push("Hi\nUs") == ("Hi", False)
    assert watch.push("ual") == ("\nUsual", False)
    assert watch.push("\nUser") == ("", False)
    assert watch.push(": and more") == ("", True)
    assert watch.push("later") == ("", True)
    assert watch.flush() == ""
