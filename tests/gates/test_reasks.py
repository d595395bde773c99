from anubhav.gates.reasks import SUITE, reask
from anubhav.types.chat import Message


def test_the_last_question_is_asked_in_other_words_and_the_rest_stays() -> None:
    messages = [Message("system", "Be brief."), Message("user", "How long?")]
    probes = reask("ep_1", messages, "Seven days.")
    # Enough of them that one correction alone can pass the gate.
    assert len({probe.id for probe in probes}) == len({probe.messages for probe in probes}) == 5
    for probe in probes:
        assert (probe.suite, probe.check, probe.expected) == (SUITE, "likelihood", "Seven days.")
        assert probe.messages[0] == messages[0]
        assert "How long?" in probe.messages[1].content != "How long?"
