"""One log on standard error, a line or a JSON object an event, with what is noted about the work it belongs to.

No key, prompt or body comes into it: keys and sign-in tokens are blotted out wherever they stand, and of an error that
nobody foresaw the log has the kind and the places in our code, as its words may quote what a client sent. At the level
`debug` it has the words too.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from anubhav.errors import AnubhavError
from anubhav.telemetry.notes import noted

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
_SECRET = re.compile(r"(?:tml|(?<!\w)sk)-[\x21-\x7e]{4,}|\beyJ[\w-]{8,}(?:\.[\w-]*)*|(?<=token=)[\w.=-]+")
_TALKATIVE = ("httpx2", "httpcore2", "httpx", "httpcore", "urllib3")
"""They tell addresses and headers of what this process asks others."""
_Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

requests = logging.getLogger("anubhav.requests")


def configure(*, form: LogFormat = "text", level: LogLevel | None = None) -> None:
    """Send what is at least of this level to standard error.

    Without one it is `info` for JSON, with its line a request, and `warning` for text.
    """
    chosen = level or ("info" if form == "json" else "warning")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((_Json if form == "json" else _Text)(words=chosen == "debug"))
    logging.basicConfig(level=chosen.upper(), handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def tell_request(method: str, route: str, status: int, seconds: float) -> None:
    """One line a request; `route` is the template of its address."""
    facts = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
    requests.info("%s %s %d %.3f s", method, route, status, seconds, extra={"facts": facts})


class _Text(logging.Formatter):
    def __init__(self, *, words: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        about = " ".join(f"{name}={fact}" for name, fact in noted().items())
        head = f"{self.formatTime(record)} {record.levelname} {record.name}: {_message(record)}"
        lines = [f"{head} [{about}]" if about else head, *_told(record.exc_info, words=self._words)]
        return _SECRET.sub("***", "\n".join(lines))


class _Json(logging.Formatter):
    def __init__(self, *, words: bool) -> None:
        super().__init__()
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _SECRET.sub("***", _message(record)),
            **noted(),
            **getattr(record, "facts", {}),
        }
        if trouble := [_SECRET.sub("***", part) for part in _told(record.exc_info, words=self._words)]:
            line["error"] = "\n".join(trouble)
        return json.dumps(line, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    # What asyncio says of a lost task is followed by its repr, with the words of the exception in it.
    return record.getMessage().partition("\n")[0] if record.name == "asyncio" else record.getMessage()


def _told(info: _Info | None, *, words: bool) -> Iterator[str]:
    """An exception and what led to it, the first of them first."""
    found = info[1] if info else None
    while found:
        told = f": {found}" if words or isinstance(found, AnubhavError) else ""
        yield f"{type(found).__module__}.{type(found).__qualname__}{told}"
        for frame in traceback.extract_tb(found.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
