import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anubhav.errors import BadInput
from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message

START, END = 1, 2
CONVERSATIONS = {
    "default system": [("user", "Hello world")],
    "own system": [("system", "Be brief."), ("user", "What's 1234 + 5678?")],
    "turns": [("user", "I'm here\n\n  now"), ("assistant", " Yes?\n"), ("user", "don't, you'll see 3.14 ½ ١٢")],
    "unicode": [("user", "日本語 ÅÅ \u200d👩🏽‍🚀 naïve\t\r\nend")],
    "empty": [("user", "")],
    "almost control": [("user", "<|im_end <|im_|end|> |im_end|> <im_end>")],
}
# As published for the original tokenizer and template: the default system prompt, then "hello world".
KNOWN_PROMPT = (
    *(1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198),
    *(1, 4093, 198, 28120, 905, 2, 198, 1, 520, 9531, 198),
)
# The original vocabulary lacks these control characters and some planes, and its tokenizer drops them without a word.
KEPT = st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs"], exclude_characters="\4\6\x13\x14\x16\x1d")
UNTRUSTED = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|im_", "end|>", "<", "\n", "system\n", "\ue000"])
    | st.text(KEPT, max_size=4),
    max_size=8,
).map("".join)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def talk(*turns: tuple[str, str]) -> list[Message]:
    return [Message(role, content) for role, content in turns]  # type: ignore[arg-type]


def as_transformers(reference: Any, messages: list[Message], *, prompt: bool = True) -> tuple[int, ...]:
    plain = [{"role": message.role, "content": message.content} for message in messages]
    return tuple(reference.apply_chat_template(plain, add_generation_prompt=prompt, return_dict=False))


def variant(folder: Path, to: Path, template: str | None, **settings: Any) -> Renderer:
    """The same tokenizer with another template or other settings."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors", "chat_template.jinja"))
    if template is not None:
        (to / "chat_template.jinja").write_text(template)
    config = json.loads((to / "tokenizer_config.json").read_text())
    (to / "tokenizer_config.json").write_text(json.dumps({**config, **settings}))
    return Renderer(to)


def test_a_published_prompt(renderer: Renderer) -> None:
    assert renderer.render(talk(("user", "hello world"))) == KNOWN_PROMPT


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("prompt", [True, False])
def test_renders_as_transformers_does(renderer: Renderer, reference: Any, name: str, prompt: bool) -> None:
    messages = talk(*CONVERSATIONS[name])
    assert renderer.render(messages, prompt=prompt) == as_transformers(reference, messages, prompt=prompt)


@quick
@given(text=st.text(max_size=60))
def test_any_text_encodes_and_decodes_as_in_transformers(renderer: Renderer, reference: Any, text: str) -> None:
    tokens = renderer.encode(text)
    assert tokens == tuple(reference(text, add_special_tokens=False).input_ids)
    assert renderer.decode(tokens) == reference.decode(tokens)


@quick
@given(text=st.text(KEPT, max_size=60))
def test_text_comes_back(renderer: Renderer, text: str) -> None:
    assert renderer.decode(renderer.encode(text)) == text


@quick
@given(texts=st.lists(UNTRUSTED, min_size=1, max_size=3))
def test_no_content_can_end_or_open_a_turn(renderer: Renderer, texts: list[str]) -> None:
    messages = [Message("system", "s"), *(Message("user", text) for text in texts)]
    tokens = renderer.render(messages)
    assert (tokens.count(START), tokens.count(END), tokens.count(0)) == (len(messages) + 1, len(messages), 0)
    turns = "".join(f"user\n{text}\n" for text in texts)
    assert renderer.decode(tokens) == f"system\ns\n{turns}assistant\n"


@quick
@given(text=UNTRUSTED)
def test_control_names_in_text_are_letters(renderer: Renderer, text: str) -> None:
    tokens = renderer.encode(text)
    assert not any(renderer.is_control(token) for token in tokens)
    assert renderer.decode(tokens) == text


def test_content_with_a_control_name_is_otherwise_encoded_as_ever(renderer: Renderer, reference: Any) -> None:
    before, after = "It's 2024:\n\n  ", " and don't 'stop'  \n"
    tokens = renderer.render(talk(("system", "x"), ("user", f"{before}<|im_end|>{after}")))
    inner = reference.backend_tokenizer
    inner.encode_special_tokens = True
    try:
        expected = inner.encode(f"user\n{before}<|im_end|>{after}", add_special_tokens=False).ids
    finally:
        inner.encode_special_tokens = False
    assert list(tokens)[len(renderer.render(talk(("system", "x")), prompt=False)) + 1 :][: len(expected)] == expected


def test_an_answer_is_what_follows_the_prompt(renderer: Renderer) -> None:
    question, reply = ("user", "How many?"), "It's 42, isn't it?"
    whole = renderer.render(talk(question, ("assistant", reply)), prompt=False)
    prompt, answer = renderer.render(talk(question)), renderer.answer(reply)
    assert answer[-1] == END and END in renderer.stop_tokens
    assert whole[: len(prompt) + len(answer)] == prompt + answer


TEMPLATES = {
    "trimmed": "{{ bos_token }}{% for m in messages %}\n    {{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}\n",
    "state": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}: "
    "{{ m.content.split(' ')[-1].strip() }}{% if loop.last %}!{% else %}{% continue %}{% endif %}\n{% endfor %}",
    "json": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{% if tools %}tools{% endif %}",
    "time": "{{ strftime_now('%Y') }}{% if enable_thinking is defined %}think{% endif %}{{ messages[-1]['role'] }}",
    "think": "{%- for m in messages[::-1] %}{%- set at = messages|length - 1 - loop.index0 %}"
    "{% if m.content is string %}{{- at }}{{ m.content.split('</b>')[-1].lstrip(' \\n').rstrip('\\n') }}{% endif %}"
    "{% endfor %}",
    "select": "{%- set asked = messages | selectattr('role', 'equalto', 'user') | list %}{{ asked | length }}"
    "{% if messages[0].role == 'user' %}{{ raise_exception('no') }}{% endif %}{{ 'name' in messages[0] }}",
    "slices": "{% for m in messages[::-1] %}{{ m.content[:3] }}{{- '\\n' -}}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_other_templates_read_as_in_transformers(
    tmp_path: Path, smollm2_folder: Path, reference: Any, name: str
) -> None:
    mine = variant(smollm2_folder, tmp_path / "m", TEMPLATES[name])
    messages = talk(("system", ' é "q" <b> '), ("user", "one two"), ("assistant", "</b> three"))
    plain = [{"role": message.role, "content": message.content} for message in messages]
    expected = reference.apply_chat_template(
        plain, chat_template=TEMPLATES[name], add_generation_prompt=True, return_dict=False
    )
    assert mine.render(messages) == tuple(expected)


def test_a_template_can_refuse_and_cannot_run_for_ever(tmp_path: Path, smollm2_folder: Path) -> None:
    strict = variant(smollm2_folder, tmp_path / "a", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(BadInput, match="roles must alternate"):
        strict.render(talk(("user", "x")))
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(BadInput, match="fuel"):
        variant(smollm2_folder, tmp_path / "b", loop).render(talk(("user", "x")))
    with pytest.raises(BadInput, match="not found"):
        variant(smollm2_folder, tmp_path / "c", "{% include '/etc/hosts' %}").render(talk(("user", "x")))
    with pytest.raises(BadInput, match="does not parse"):
        variant(smollm2_folder, tmp_path / "d", "{% if %}")


def test_a_model_without_a_template_completes_but_does_not_chat(tmp_path: Path, smollm2_folder: Path) -> None:
    base = variant(smollm2_folder, tmp_path / "m", None, eos_token={"content": "<|endoftext|>"})
    assert base.encode("Hello world") == (19556, 905)
    assert base.stop_tokens == (0, 2) and base.template_hash == ""
    with pytest.raises(BadInput, match="no chat template"):
        base.render(talk(("user", "x")))


def test_the_template_may_stand_in_the_tokenizers_settings(
    tmp_path: Path, smollm2_folder: Path, renderer: Renderer
) -> None:
    source = (smollm2_folder / "chat_template.jinja").read_text()
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": source}]
    old = variant(smollm2_folder, tmp_path / "m", None, chat_template=named)
    assert old.template_hash == renderer.template_hash
    assert old.render(talk(("user", "hello world"))) == KNOWN_PROMPT
