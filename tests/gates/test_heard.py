import pytest

from anubhav.gates import heard
from anubhav.gates.heard import Heard
from anubhav.types.chat import Message
from anubhav.types.experience import Probe
from anubhav.types.ids import AdapterId


def probe(number: int, expected: str = "yes") -> Probe:
    return Probe(f"pr_{number}", "target", "contains", (Message("user", "Well?"),), expected)


def test_an_answer_belongs_to_one_voice_and_one_wording_of_the_probe() -> None:
    memory = Heard()
    memory.keep(("base", AdapterId("a"), probe(1)), (1.0, "yes"))
    assert memory.find(("base", AdapterId("a"), probe(1))) == (1.0, "yes")
    assert memory.find(("base", None, probe(1))) is None
    assert memory.find(("base", AdapterId("b"), probe(1))) is None
    assert memory.find(("base", AdapterId("a"), probe(1, "no"))) is None, "the same id with another expectation"


def test_it_forgets_what_was_asked_for_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard, "_KEPT", 2)
    memory = Heard()
    for number in (1, 2):
        memory.keep(("base", None, probe(number)), (float(number), ""))
    assert memory.find(("base", None, probe(1)))
    memory.keep(("base", None, probe(3)), (3.0, ""))
    assert [memory.find(("base", None, probe(number))) is None for number in (1, 2, 3)] == [False, True, False]
