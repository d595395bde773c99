"""What the journal and the rooms call things: recorded in English, shown in the visitor's language (`word`)."""

from anubhav.http.console.language import gettext_noop

WORDS = (
    gettext_noop("paused"), gettext_noop("running"), gettext_noop("scheduled"), gettext_noop("by hand"),
    gettext_noop("done"), gettext_noop("failed"), gettext_noop("cancelled"), gettext_noop("interrupted"),
    gettext_noop("pass"), gettext_noop("fail"), gettext_noop("inconclusive"), gettext_noop("promote"),
    gettext_noop("discard"), gettext_noop("rollback"), gettext_noop("try"), gettext_noop("candidate"),
    gettext_noop("refused"), gettext_noop("alarm"), gettext_noop("unread"), gettext_noop("user"),
    gettext_noop("assistant"), gettext_noop("system"), gettext_noop("tool"), gettext_noop("ok"), gettext_noop("warn"),
    gettext_noop("training"), gettext_noop("checkpoint"), gettext_noop("storage"), gettext_noop("taught"),
    gettext_noop("reading"), gettext_noop("remembering"), gettext_noop("measuring"), gettext_noop("anchoring"),
    gettext_noop("imitating"), gettext_noop("liking"), gettext_noop("preferring"), gettext_noop("reinforcing"),
    gettext_noop("saving"), gettext_noop("judging"),
    gettext_noop("reply"), gettext_noop("feedback"), gettext_noop("lap"), gettext_noop("release"),
    gettext_noop("adapter"), gettext_noop("rater"), gettext_noop("memory"), gettext_noop("was given"),
    gettext_noop("released"), gettext_noop("made"), gettext_noop("made by"), gettext_noop("judged by"),
    gettext_noop("went on from"), gettext_noop("was gone on from by"), gettext_noop("was answered unheard"),
    gettext_noop("said"), gettext_noop("said by"), gettext_noop("remembered from"), gettext_noop("released as"),
    gettext_noop("given by"), gettext_noop("gave"), gettext_noop("ended in"), gettext_noop("about"),
    gettext_noop("open"), gettext_noop("closed"), gettext_noop("kept"), gettext_noop("dropped"),
    gettext_noop("deleted"), gettext_noop("pinned"), gettext_noop("shortened"),
    gettext_noop("thumb"), gettext_noop("rating"), gettext_noop("correction"), gettext_noop("comparison"),
    gettext_noop("outcome"), gettext_noop("trusted"), gettext_noop("quarantined"), gettext_noop("held out"),
    gettext_noop("heard"), gettext_noop("better"), gettext_noop("worse"), gettext_noop("pending"),
    gettext_noop("begun"), gettext_noop("saved"), gettext_noop("loaded"), gettext_noop("ended"),
    gettext_noop("length"),
)  # fmt: skip
