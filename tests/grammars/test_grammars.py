"""What may follow, over a tokenizer of bytes; and what is refused before anything is sampled."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model
from tokenizers import Tokenizer

from anubhav.errors import BadInput, TooLarge
from anubhav.grammars.holding import Held, hold
from anubhav.types.sampling import Grammar

END = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grammars") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def may_follow(held: Held, tokens: list[int], size: int = 258) -> set[int]:
    return {token for token, allowed in enumerate(held.mask(tokens, size)) if allowed}


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_the_end_may_follow_where_the_text_is_whole(folder: Path, tokenizer: Tokenizer) -> None:
    held = hold(folder, (END,), Grammar("regex", "ab?c"))
    a, b, c = ids(tokenizer, "abc")
    assert may_follow(held, []) == {a}
    assert may_follow(held, [a]) == {b, c}
    assert may_follow(held, [a, b]) == {c}
    assert may_follow(held, [a, b, c]) == {END}
    assert not held.over([a, b, c]), "its stop token is still to come"


def test_a_larger_vocabulary_than_the_tokenizers_is_never_drawn_from(folder: Path, tokenizer: Tokenizer) -> None:
    held = hold(folder, (END,), Grammar("regex", r"[\s\S]*"))
    assert max(may_follow(held, [], size=320)) < 258
    assert len(held.mask([], 320)) == 320


def test_each_sample_has_a_place_of_its_own_and_catches_up_by_itself(folder: Path, tokenizer: Tokenizer) -> None:
    grammar = Grammar("regex", "(ab|cd)e")
    a, b, c, d, e = ids(tokenizer, "abcde")
    one = hold(folder, (END,), grammar)
    other, late = one.copy(), hold(folder, (END,), grammar)
    assert may_follow(one, [a]) == {b}
    assert may_follow(other, [c]) == {d}
    assert may_follow(late, [c, d]) == {e}
    assert may_follow(one.copy(), [a, b]) == {e}
    assert may_follow(hold(folder, (END,), grammar), []) == {a, c}


def test_control_tokens_are_no_text(folder: Path) -> None:
    held = hold(folder, (END,), Grammar("regex", r"[\s\S]{2,}"))
    assert not may_follow(held, []) & {0, END}


def test_blanks_between_the_words_of_json_are_bounded(folder: Path, tokenizer: Tokenizer) -> None:
    held = hold(folder, (END,), Grammar("json_schema", '{"type": "object", "required": ["a"]}'))
    (blank,) = ids(tokenizer, " ")
    (brace,) = ids(tokenizer, "{")
    assert blank in may_follow(held, [brace] + [blank] * 19)
    assert blank not in may_follow(held, [brace] + [blank] * 20)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("regex", "a(?=b)", "look-ahead"),
        ("regex", "(a{1000}){1000}", "too much work"),
        ("json_schema", '{"type": "objec"}', "objec"),
        ("json_schema", '{"x-guidance": {"lenient": true}, "not": {}}', '"not"'),
        ("json_schema", json.dumps({"$ref": "https://example.com/x"}), "example.com"),
        ("json_schema", '{"items":' * 150 + "{}" + "}" * 150, "nested too deeply"),
        ("json_schema", '{"items":' * 5000 + "{}" + "}" * 5000, "nested too deeply"),
        ("lark", "start: foo", "foo"),
        ("lark", "", "Empty"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_held_to_is_refused_by_name(folder: Path, kind: Any, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as problem:
        hold(folder, (END,), Grammar(kind, text))
    assert str(folder) not in str(problem.value)


@pytest.mark.parametrize("kind", ["json_schema", "regex", "lark"])
def test_the_longest_are_refused_unread(folder: Path, kind: Any) -> None:
    with pytest.raises(TooLarge, match="characters"):
        hold(folder, (END,), Grammar(kind, "a" * 200_001))


def test_a_grammar_that_becomes_too_much_work_ends_its_sample(folder: Path, tokenizer: Tokenizer) -> None:
    held = hold(folder, (END,), Grammar("regex", "([ab]*a[ab]{300}){3}"))
    said = random.Random(0).choices(ids(tokenizer, "ab"), k=2000)
    with pytest.raises(BadInput, match="too much work"):
        for length in range(len(said)):
            held.mask(said[:length], 258)


def test_a_model_without_a_tokenizer_holds_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        hold(tmp_path, (END,), Grammar("regex", "a"))


def test_a_tokenizer_that_llguidance_cannot_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="tokenizer"):
        hold(tmp_path, (END,), Grammar("regex", "a"))


def test_nothing_is_loaded_before_a_grammar_is_asked_for() -> None:
    code = "import sys, anubhav.grammars.holding, anubhav.backends.bending; sys.exit('llguidance' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
