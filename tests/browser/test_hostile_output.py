"""Whatever a model says, or people ask, is shown as the text it is: nothing of it runs."""

import json
from itertools import product

from loopback import Loopback
from playwright.sync_api import Page, Route
from seeds import say

from anubhav.types.chat import Message
from anubhav.types.experience import Probe

_CALL = "window.ran=1"
_TAGS = (
    "<script>{}</script>", "<img src=x onerror={}>", "<svg onload={}>", "<svg><script>{}</script></svg>",
    "<body onload={}>", "<iframe srcdoc='<script>parent.{}</script>'></iframe>", "<details open ontoggle={}>",
    "<input autofocus onfocus={}>", "<video><source onerror={}></video>", "<math><mtext><script>{}</script></math>",
    "<a href='javascript:{}'>x</a>", "<object data='javascript:{}'></object>", "<style>@import'javascript:{}'</style>",
    "<marquee onstart={}>", "<template><script>{}</script></template>", "<noscript><img src=x onerror={}></noscript>",
    "<textarea autofocus onfocus={}>", "<select onfocus={} autofocus>", "<form action='javascript:{}'><button>x</form>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>", "<base href='javascript:{}//'>",
    "{{{{ constructor.constructor('{}')() }}}}", "${{{}}}", "{{% raw %}}{}", "[x](javascript:{})",
    "![x](x\" onerror=\"{})", "<button popovertarget=x onbeforetoggle={}>", "<audio src=x onerror={}>",
)  # fmt: skip
_FRAMES = (
    "{}",
    '">{}',
    "'>{}",
    "</p></li></ol></main>{}",
    "</title></textarea></script>{}",
    "<!--{}-->",
    "]]>{}",
    "\\x00{}",
)
CORPUS = [frame.format(tag.format(_CALL)) for frame, tag in product(_FRAMES, _TAGS)]


def ran(page: Page) -> bool:
    return page.evaluate(
        "window.ran === 1 || document.querySelectorAll('main script, main iframe, main object').length > 0"
    )


def test_recorded_texts_run_nowhere(page: Page, server: Loopback) -> None:
    assert len(CORPUS) >= 200
    probe = Probe("pr_hostile", "target", "exact", (Message("user", CORPUS[0]),), CORPUS[1], "hostile")
    server.run(server.house.probes.add([probe]))
    page.on("dialog", lambda dialog: (_ for _ in ()).throw(AssertionError(dialog.message)))
    for start in range(0, len(CORPUS), 25):
        part = CORPUS[start : start + 25]
        name = server.run(
            say(server.house, part[0], *part, alias="hostile", session=f"hostile-{start}", user=part[1][:100])
        )
        for path in (f"/episodes/{name}", f"/sessions/hostile-{start}"):
            page.goto(path)
            page.wait_for_selector("html.js")
            assert not ran(page), path
            assert all(" ".join(one.split()) in " ".join(page.inner_text("main").split()) for one in part)
    for path in ("/", "/sessions", "/review?alias=hostile"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert not ran(page), path


def test_streamed_texts_run_nowhere(page: Page) -> None:
    def answer(route: Route) -> None:
        choices = [
            {"index": index, "delta": {"content": text}, "finish_reason": "stop"}
            for index, text in enumerate(CORPUS[:16])
        ]
        body = f"data: {json.dumps({'id': 'ep_x', 'choices': choices})}\n\ndata: [DONE]\n\n"
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/v1/chat/completions", answer)
    page.goto("/playground")
    page.fill("[name=n]", "16")
    page.fill("#words", CORPUS[1])
    page.keyboard.press("Enter")
    page.wait_for_selector(".spread")
    page.click("text=Correct >> nth=0")
    assert page.locator(".sample .said").first.inner_text() == CORPUS[0]
    assert not ran(page)
