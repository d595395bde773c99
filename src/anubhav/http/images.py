"""Pictures in the bodies of all dialects: from data URLs and base64, bounded in size. Nothing is fetched, since whoever
asks could make the server ask others for it; nothing is decoded before a model wants to see it."""

import base64
import binascii
import re
from typing import Literal

from anubhav.errors import BadInput, TooLarge
from anubhav.types.chat import Image

LONGEST = 28_000_000
"""Characters of a data URL: 20 MB and its base64."""
_MOST_BYTES = 20_000_000
_DATA = re.compile(r"data:(?P<type>[a-z]+/[a-z0-9.+-]+)(?P<rest>(?:;[a-z0-9=-]+)*),", re.IGNORECASE)
_SIGNS: dict[Literal["png", "jpeg", "webp", "gif"], re.Pattern[bytes]] = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "gif": re.compile(rb"GIF8[79]a"),
}


def from_url(url: str | None) -> Image:
    """Raises BadInput for anything but a data URL of a PNG, JPEG, WebP or GIF."""
    found = _DATA.match(url or "")
    if found is None:
        raise BadInput(
            "An image is not a data URL, and images at addresses are not fetched",
            hint="Send the image itself: data:image/png;base64,…",
        )
    if not found["rest"].lower().endswith(";base64"):
        raise BadInput("An image's data URL is not in base64", hint="Send data:image/png;base64,…")
    return from_base64((url or "")[found.end() :])


def from_base64(text: str) -> Image:
    """What it is, its first bytes say."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise BadInput("An image is not base64", hint="Encode its bytes as base64, without line breaks.") from problem
    if len(data) > _MOST_BYTES:
        raise TooLarge(f"An image is larger than {_MOST_BYTES // 1_000_000} MB", hint="Send a smaller one.")
    for kind, sign in _SIGNS.items():
        if sign.match(data):
            return Image(kind, data)
    raise BadInput("An image is neither PNG, JPEG, WebP nor GIF", hint="Convert it to one of these.")
