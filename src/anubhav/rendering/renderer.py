"""Messages to tokens and back, for one model: its own tokenizer and chat template, and text that stays text.

What a person writes never becomes a control token: `<|im_end|>` inside a message is eleven letters, not an end of turn.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from anubhav.errors import BadInput
from anubhav.rendering.speech.dialects import choose
from anubhav.rendering.speech.forcing import either, force, guard
from anubhav.rendering.speech.listening import Listener
from anubhav.rendering.speech.offering import declare, offered, spoken_of, tell
from anubhav.rendering.template import ChatTemplate
from anubhav.types.chat import Message, Tool, ToolCall
from anubhav.types.sampling import Grammar

_PRIVATE_USE = range(0xE000, 0xF900)
_KNOWS_TOOLS = re.compile(r"\btools\b")


class Renderer:
    """Reads the files of a model folder once; after that it does no I/O."""

    def __init__(self, folder: Path) -> None:
        """Raises BadInput for a folder without a readable tokenizer or without an end-of-turn token."""
        settings = _read_json(folder / "tokenizer_config.json")
        names = {key: text for key, value in settings.items() if key.endswith("_token") and (text := _text(value))}
        self._tokenizer = _load(folder / "tokenizer.json")
        self._literal = _load(folder / "tokenizer.json")
        self._literal.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder().items()
        self._control = {token.content: (index, token) for index, token in added if token.special}
        self._names = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or "(?!)")
        self._template = ChatTemplate(source, names) if (source := _template_source(folder, settings)) else None
        self.template = source = self._template.source if self._template else ""
        self._knows_calls, self._knows_tools = "tool_calls" in source, _KNOWS_TOOLS.search(source) is not None
        self.dialect = choose(source)
        shown = {index: name for name, (index, _) in self._control.items() if name in self.dialect.marks}
        self._shown: Mapping[int, str] = shown
        self._control_ids = frozenset(index for index, _ in self._control.values()) - shown.keys()
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.stop_tokens = self._stop_tokens(folder, names)
        self.template_hash = self._template.hash if self._template else ""
        self.settings: Mapping[str, Any] = {
            **{key: value for key, value in settings.items() if not key.endswith("_token")}, **names,
            "chat_template": source or None,
        }  # fmt: skip
        """The model's tokenizer_config.json, with special tokens as texts."""

    def render(
        self, messages: Sequence[Message], *, prompt: bool = True, settings: Mapping[str, Any] | None = None
    ) -> tuple[int, ...]:
        """The tokens of a conversation; `prompt` adds the opening of the assistant's turn.

        `settings` are variables of the model's own template, such as Qwen's `enable_thinking`.
        Raises BadInput when the model has no chat template or its template refuses these messages.
        """
        if self._template is None:
            raise BadInput(
                "This model has no chat template: it completes text and was not taught to chat",
                hint="Send plain text to /v1/completions, or use an instruct model.",
            )
        tools = offered(messages)
        spoken = tell(messages, tools) if tools and not self._knows_tools else spoken_of(messages)
        said = [
            [_fields(message, calls=self._knows_calls) for message in spoken],
            declare(tools) if self._knows_tools else [],
        ]
        if not any(map(self._holds_control, _texts([*said, settings or {}]))):
            text = self._template.apply(said[0], prompt=prompt, tools=said[1], settings=settings)
            return self._ids(self._tokenizer, text)
        mark = _unused_character(self._template.source, said)
        guarded, tools_guarded, settings_guarded = self._guard_all([*said, dict(settings or {})], mark)
        text = self._template.apply(guarded, prompt=prompt, tools=tools_guarded, settings=settings_guarded)
        return self._encode_guarded(text, mark)

    def listener(self, prompt: Sequence[int], tools: Sequence[Tool], name: str) -> Listener:
        """Tells the parts of the reply to this prompt apart; the ids of its calls begin with `name`."""
        return Listener(self.dialect, tools, name, thinking=self._thinks_after(prompt))

    def force(self, prompt: Sequence[int], tools: Sequence[Tool], *, several: bool) -> Grammar:
        """Holds the reply to this prompt to calls of these tools."""
        return force(self.dialect, tools, self._control, several=several, thinking=self._thinks_after(prompt))

    def either(self, tools: Sequence[Tool], schema: str) -> Grammar:
        """Holds a reply to calls of these tools or to JSON of a schema."""
        return either(self.dialect, tools, self._control, schema)

    def guard(self, tools: Sequence[Tool]) -> Grammar | None:
        """Holds calls in a reply, if there are any, to the schemas of their tools. None where it cannot."""
        return guard(self.dialect, tools, self._control)

    def _thinks_after(self, prompt: Sequence[int]) -> bool:
        opens = self.dialect.thinks[0] if self.dialect.thinks else ""
        return bool(opens) and self._tokenizer.decode(prompt[-16:], skip_special_tokens=False).rstrip().endswith(opens)

    def answer(self, text: str) -> tuple[int, ...]:
        """The tokens of an assistant's reply as it would be sampled: the text and the token that ends the turn."""
        return (*self.encode(text), self.stop_tokens[0])

    def encode(self, text: str) -> tuple[int, ...]:
        """Plain text; names of control tokens in it are encoded letter by letter."""
        return self._ids(self._literal if self._holds_control(text) else self._tokenizer, text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Control tokens are left out, but for marks of thoughts and calls; bytes that are no UTF-8 become U+FFFD."""
        if self._shown.keys().isdisjoint(tokens):
            return self._tokenizer.decode(tokens, skip_special_tokens=True)
        text, start = "", 0
        for at, token in enumerate(tokens):
            if token in self._shown:
                text += self._tokenizer.decode(tokens[start:at], skip_special_tokens=True) + self._shown[token]
                start = at + 1
        return text + self._tokenizer.decode(tokens[start:], skip_special_tokens=True)

    def read(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Text in which names of control tokens are these tokens; `special` adds what the tokenizer puts around it."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def spell(self, tokens: Sequence[int]) -> str:
        """Like `decode`, with the names of control tokens."""
        return self._tokenizer.decode(tokens, skip_special_tokens=False)

    def pieces(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """Each token as the vocabulary writes it; empty for an id that stands for nothing."""
        return tuple(self._tokenizer.id_to_token(token) or "" for token in tokens)

    def is_control(self, token: int) -> bool:
        return token in self._control_ids

    def control_token(self, name: str) -> int | None:
        """The control token of this very name."""
        found = self._control.get(name)
        return found[0] if found else None

    def _holds_control(self, text: str) -> bool:
        return self._names.search(text) is not None

    def _guard(self, text: str, mark: str) -> str:
        """Break every control token's name with `mark`, so that it can be told from those the template writes."""
        return self._names.sub(lambda match: mark.join(match.group()), text)

    def _guard_all(self, value: Any, mark: str) -> Any:
        if isinstance(value, str):
            return self._guard(value, mark)
        if isinstance(value, dict):
            fields = cast(dict[str, Any], value)
            return {self._guard(key, mark): self._guard_all(inner, mark) for key, inner in fields.items()}
        return [self._guard_all(inner, mark) for inner in cast(list[Any], value)] if isinstance(value, list) else value

    def _encode_guarded(self, text: str, mark: str) -> tuple[int, ...]:
        tokens: list[int] = []
        at = 0
        for match in self._names.finditer(text):
            index, control = self._control[match.group()]
            before = text[at : match.start()]
            tokens += self._ids(self._literal, (before.rstrip() if control.lstrip else before).replace(mark, ""))
            tokens.append(index)
            at = match.end()
            while control.rstrip and text[at : at + 1].isspace():
                at += 1
        return (*tokens, *self._ids(self._literal, text[at:].replace(mark, "")))

    def _ids(self, tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

    def _stop_tokens(self, folder: Path, names: Mapping[str, str]) -> tuple[int, ...]:
        """The tokenizer's end token first, then what the model's own generation settings end with."""
        found = [self._tokenizer.token_to_id(names["eos_token"])] if "eos_token" in names else []
        for name in ("generation_config.json", "config.json"):
            value = _read_json(folder / name).get("eos_token_id")
            found += value if isinstance(value, list) else [value]
        stops = tuple(dict.fromkeys(token for token in found if isinstance(token, int)))
        if not stops:
            raise BadInput(
                "The model does not say which token ends a turn",
                hint="Give its tokenizer_config.json an eos_token.",
            )
        return stops


def _load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BadInput(
            f"The model's tokenizer.json cannot be read: {str(error)[:200]}",
            hint="Pull the model again, or convert its tokenizer to the Hugging Face fast format.",
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _text(value: Any) -> str | None:
    """A special token is written as text or as {"content": text}."""
    content = cast(dict[str, Any], value).get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _template_source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    source: Any = settings.get("chat_template")
    if isinstance(source, list):
        return {entry["name"]: entry["template"] for entry in cast(list[dict[str, str]], source)}.get("default")
    return source


def _fields(message: Message, *, calls: bool) -> dict[str, Any]:
    """As templates take a message. `calls`: the template writes tool calls; for one that does not they are text, in
    the form most models were taught (Hermes: one `<tool_call>` with JSON each)."""
    fields: dict[str, Any] = {"role": str(message.role), "content": message.content}
    if message.name is not None:
        fields["name"] = message.name
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        fields["reasoning_content"] = message.reasoning
    if message.tool_calls and calls:
        fields["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in message.tool_calls
        ]
    elif message.tool_calls:
        written = [json.dumps({"name": call.name, "arguments": _arguments(call)}) for call in message.tool_calls]
        parts = [message.content, *(f"<tool_call>\n{text}\n</tool_call>" for text in written)]
        fields["content"] = "\n".join(filter(None, parts))
    return fields


def _arguments(call: ToolCall) -> Any:
    """Templates want an object; what the model wrote stays text where it is none."""
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments
    return cast(Any, found) if isinstance(found, dict) else call.arguments


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from _texts(inner)


def _unused_character(template: str, said: list[Any]) -> str:
    used = set(template).union(*_texts(said))
    for point in _PRIVATE_USE:
        if chr(point) not in used:
            return chr(point)
    raise BadInput("The messages use every private-use character there is", hint="Leave some of U+E000 to U+F8FF out.")
