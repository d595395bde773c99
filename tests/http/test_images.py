import base64

import pytest

from anubhav.errors import BadInput, TooLarge
from anubhav.http.images import from_base64, from_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def data_url(data: bytes, head: str = "image/png;base64") -> str:
    return f"data:{head},{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0more", "jpeg"),
        (b"RIFF\x10\n\x00\x00WEBPmore", "webp"),
        (b"GIF89amore", "gif"),
    ],
)
def test_its_first_bytes_say_what_it_is(data: bytes, kind: str) -> None:
    # Whatever the URL says of it.
    found = from_url(data_url(data, "application/octet-stream;charset=utf-8;base64"))
    assert (found.kind, found.data) == (kind, data)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.org/a.png", "not fetched"),
        ("http://169.254.169.254/latest", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        (None, "not fetched"),
        ("data:image/png,abc", "not in base64"),
        ("data:image/png;base64,@@@", "not base64"),
        (data_url(b"<svg></svg>", "image/svg+xml;base64"), "neither PNG"),
        (data_url(b"", "image/png;base64"), "neither PNG"),
    ],
)
def test_anything_else_is_refused(url: str | None, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        from_url(url)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(TooLarge, match="20 MB"):
        from_base64(base64.b64encode(PNG + bytes(20_000_000)).decode())
