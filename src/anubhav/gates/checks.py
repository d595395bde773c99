"""Is a reply right? It is when it holds what is expected, as a whole word or number."""

import re


def contains(reply: str, expected: str) -> bool:
    """Case and spaces folded; "42" is not in "142", nor "6" in "6.40", nor "ice" in "nice"."""
    wanted, given = _fold(expected), _fold(reply)
    before = r"(?<![\w.,])" if wanted[:1].isdigit() else r"(?<!\w)" if wanted[:1].isalpha() else ""
    after = r"(?!\w|[.,]\d)" if wanted[-1:].isdigit() else r"(?!\w)" if wanted[-1:].isalpha() else ""
    return bool(wanted) and re.search(before + re.escape(wanted) + after, given) is not None


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
