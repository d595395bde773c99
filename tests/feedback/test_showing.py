import pytest

from anubhav.feedback import AsyncFeedback, Feedback, Receipt

KEY = "tml-planted-secret"


def test_a_receipt_is_a_table_with_its_values_escaped() -> None:
    shown = Receipt("fb_1", "<script>alert('x')</script>", "accepted")._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.startswith("<table><caption>Feedback</caption>")
    assert ">accepted<" in shown


def test_a_client_shows_its_server_and_no_key() -> None:
    with Feedback("http://ada:hidden@127.0.0.1:8000/v1", KEY) as client:
        for shown in (client._repr_html_(), repr(client)):
            assert "http://127.0.0.1:8000/v1/feedback" in shown
            assert KEY not in shown
            assert "hidden" not in shown


async def test_one_without_a_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANUBHAV_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with AsyncFeedback("http://127.0.0.1:1") as client:
        assert "ANUBHAV_API_KEY" in client._repr_html_()
