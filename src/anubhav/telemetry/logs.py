"""One log on standard error, a line an event, with every API key and sign-in token blotted out."""

import logging
import re
import sys

_SECRET = re.compile(r"tml-[\x21-\x7e]{4,}|(?<=token=)[\w.=-]+")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _SECRET.sub("***", super().format(record))


def configure(*, verbose: bool) -> None:
    """Send warnings, or with `verbose` everything from INFO up, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
