"""Feedback from a program: judge a reply with the very object its client was given.

    from anubhav import feedback

    reply = openai_client.chat.completions.create(...)
    feedback.thumbs(reply, up=False)
    feedback.correct(reply, "Returns are free for 30 days.")

The functions here find the server in ANUBHAV_BASE_URL and ANUBHAV_API_KEY, or OPENAI_BASE_URL and OPENAI_API_KEY.
`Feedback(base_url=…, api_key=…)` and `AsyncFeedback(…)` have the same names. It needs httpx or httpx2 and no other part
of Anubhav.
"""

from anubhav.feedback.clients import AsyncFeedback, Feedback
from anubhav.feedback.once import compare, correct, outcome, rate, thumbs
from anubhav.feedback.wording import Receipt

__all__ = ["AsyncFeedback", "Feedback", "Receipt", "compare", "correct", "outcome", "rate", "thumbs"]
