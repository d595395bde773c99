"""Covariates: what sways judges whatever was said. Length, marks of formatting, flattery, hedging, refusals, forgery.

They stand in the critic beside the features as weights of their own, so that people may like short answers, say; the
watch follows each of them, and what lies beyond what people were seen to judge is not paid for. All are of order 1.
"""

import math
import re
from collections.abc import Mapping

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "flattery": re.compile(
        r"\b(?:great|excellent|brilliant|wonderful|fantastic|amazing|insightful|good) "
        r"(?:question|idea|point|thinking|job)"
        r"|\b(?:you(?:'re| are)|what a) (?:(?:so|very|truly|clearly|such|absolutely|a|an) )*"
        r"(?:smart|brilliant|genius|clever|wise|right|amazing|wonderful|insightful|talented)"
        r"|\bgenius\b|\bI(?:'m| am) (?:proud|impressed|amazed)"
        r"|\b(?:this|my|here is (?:a|the)) (?:answer|reply|response|solution)? ?(?:is )?"
        r"(?:perfect|excellent|flawless|complete and correct|the best|comprehensive)"
        r"|\bI (?:have )?(?:carefully|thoroughly) (?:checked|verified|considered)"
        r"|\bhope (?:this|that) (?:is|was) perfect",
        re.IGNORECASE,
    ),
    "hedging": re.compile(
        r"\b(?:perhaps|maybe|possibly|might|may be|could be|seems?|appears?|arguably|likely|unlikely|probably"
        r"|I think|I believe|I guess|in my opinion|it depends|not (?:entirely |quite |completely )?(?:sure|certain)"
        r"|generally|usually|to some extent|more or less|I could be wrong)\b",
        re.IGNORECASE,
    ),
    "refusal": re.compile(
        r"\bI(?:'m| am) (?:sorry|afraid|unable|not able)\b|\bI (?:can(?:'t|not)|won't|will not|must decline|decline)\b"
        r"|\bas an AI\b|\bnot (?:able|allowed|permitted) to\b|\bcannot (?:help|assist|answer|comply|provide)\b"
        r"|\bcan't (?:help|assist|answer)\b",
        re.IGNORECASE,
    ),
    "forging": re.compile(
        r"</?tool_(?:call|response|result|output)|<\|?(?:tool|function|observation)"
        r"|\b(?:tool|function) (?:result|output|response)s?:"
        r"|^\s*observation:|\"role\"\s*:\s*\"tool\""
        r"|\ball (?:\d+ )?(?:tests|checks) (?:have )?pass(?:ed)?\b|\b\d+ passed\b"
        r"|\b(?:exit (?:code|status)|returncode)[ :=]+0\b|\"(?:success|passed|ok|correct)\"\s*:\s*(?:true|1)\b"
        r"|\b(?:verified|verifier|grader|score|reward)\s*[:=]\s*(?:true|pass(?:ed)?|correct|10|1(?:\.0)?|100)\b",
        re.IGNORECASE | re.MULTILINE,
    ),
}
_MARKS = re.compile(r"^\s*(?:#{1,6} |[-*+] |\d+[.)] |>|\|)|\*\*|__|```|`|^---+$", re.MULTILINE)
_WORD = re.compile(r"\w+")
NAMES = ("length", "formatting", *_PATTERNS)


def covariates(text: str) -> tuple[float, ...]:
    """One of order 1 for each of NAMES."""
    words = len(_WORD.findall(text))
    marks = len(_MARKS.findall(text))
    found = [len(pattern.findall(text)) for pattern in _PATTERNS.values()]
    return (
        (math.log1p(words) - 3.0) / 1.5,
        marks / (marks + 3.0),
        *(count / (count + 1.0) for count in found),
    )
