"""Dialects: how each family of models marks its thoughts and its calls of tools. A model's own template says which.

What a template writes when it repeats earlier calls is what its model was taught to say, so the marks in the template
choose the dialect. Models whose templates know no tools are told of them in Hermes' words, which most were taught.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anubhav.rendering.speech import bodies
from anubhav.rendering.speech.bodies import Spoken
from anubhav.types.chat import Tool


@dataclass(frozen=True, slots=True)
class Section:
    """Where calls stand in a reply."""

    open: str
    close: str | None
    """None: they go on to the end of the reply."""
    read: Callable[[str, Sequence[Tool]], list[Spoken]]
    begins: bool = False
    """It is calls only where it begins the reply, and what opens it is a part of them."""


@dataclass(frozen=True, slots=True)
class Form:
    """How calls are written, for those that the model is held to: `opens`, a call, `parts`, a call …, `closes`.

    A call is `before`, its name, `middle`, its arguments and `after`; NUMBER stands for digits of the model's choice.
    """

    opens: str
    before: str
    middle: str
    after: str
    parts: str
    closes: str


NUMBER = "\0"


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    sections: tuple[Section, ...]
    form: Form
    inside: tuple[str, ...] = ()
    """Marks within a section."""
    thinks: tuple[str, str] | None = None
    """What stands around its thoughts, for a model that has some."""

    @property
    def marks(self) -> tuple[str, ...]:
        """All that stands around thoughts and calls: where these are control tokens, they are read and not skipped."""
        around = (mark for one in self.sections for mark in (one.open, one.close) if mark and not one.begins)
        return (*around, *self.inside, *(self.thinks or ()))


def _objects(opens: str, parts: str, closes: str, key: str = "arguments") -> Form:
    return Form(opens, '{"name": "', f'", "{key}": ', "}", parts, closes)


_OPEN, _CLOSE = "<tool_call>\n", "\n</tool_call>"
_HERMES = Section("<tool_call>", "</tool_call>", bodies.read_functions)
HERMES = Dialect("hermes", (_HERMES,), _objects(_OPEN, f"{_CLOSE}\n{_OPEN}", _CLOSE))
_CODER = Dialect("qwen-coder", (_HERMES,), _objects(_OPEN, f"{_CLOSE}\n{_OPEN}", _CLOSE))
_LLAMA = Dialect(
    "llama",
    (
        Section("<|python_tag|>", None, bodies.read_json),
        Section('{"name"', None, bodies.read_json, begins=True),
        Section('{"type"', None, bodies.read_json, begins=True),
        Section("[", None, bodies.read_python, begins=True),
    ),
    _objects("", "; ", "", "parameters"),
)
_NEMOTRON = Dialect(
    "nemotron", (Section("<TOOLCALL>", "</TOOLCALL>", bodies.read_json),), _objects("<TOOLCALL>[", ", ", "]</TOOLCALL>")
)
_MISTRAL = Dialect(
    "mistral",
    (Section("[TOOL_CALLS]", None, bodies.read_mistral),),
    _objects("[TOOL_CALLS][", ", ", "]"),
    ("[ARGS]", "[CALL_ID]"),
)
_GEMMA = Dialect("gemma", (Section("```tool_code", "```", bodies.read_python), _HERMES), HERMES.form)
_KIMI = Dialect(
    "kimi",
    (Section("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", bodies.read_kimi),),
    Form(
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>functions.",
        f":{NUMBER}<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        "",
        "<|tool_calls_section_end|>",
    ),
    ("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
)
_DEEPSEEK_SECTION = Section("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", bodies.read_deepseek)
_DEEPSEEK_INSIDE = ("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>")
_DEEPSEEK = Dialect(
    "deepseek",
    (_DEEPSEEK_SECTION,),
    Form(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        "\n```json\n",
        "\n```<｜tool▁call▁end｜>",
        "\n",
        "<｜tool▁calls▁end｜>",
    ),
    _DEEPSEEK_INSIDE,
)
_DEEPSEEK_31 = Dialect(
    "deepseek-3.1",
    (_DEEPSEEK_SECTION,),
    Form(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "",
        "<｜tool▁calls▁end｜>",
    ),
    _DEEPSEEK_INSIDE,
)


def choose(template: str) -> Dialect:
    """The dialect of the model with this chat template; of one that writes no calls, Hermes'."""
    thinks = ("<think>", "</think>") if "</think>" in template else None
    return replace(_of(template), thinks=thinks)


def _of(template: str) -> Dialect:
    if "<｜tool▁calls▁begin｜>" in template:
        return _DEEPSEEK if "```json" in template else _DEEPSEEK_31
    for mark, dialect in _MARKS.items():
        if mark in template:
            return dialect
    return HERMES


_MARKS = {
    "<|tool_calls_section_begin|>": _KIMI,
    "<TOOLCALL>": _NEMOTRON,
    "[TOOL_CALLS]": _MISTRAL,
    "<function=": _CODER,
    "<tool_call>": HERMES,
    "<|python_tag|>": _LLAMA,
    '"parameters": ': _LLAMA,
    "tool_code": _GEMMA,
    "<start_of_turn>": _GEMMA,
}
"""What a template holds, looked for in this order."""
