from typing import Any

from anubhav.types.models import Principal

OPERATOR = Principal("local", "key_1", operator=True)


async def test_the_sign_in_address_works_once_and_leaves_a_safe_cookie(front: Any) -> None:
    token = front.keyring.issue_ticket(OPERATOR)
    first = await front.nobody.get("/", params={"token": token})
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert token not in cookie
    front.nobody.cookies.clear()
    second = await front.nobody.get("/", params={"token": token})
    assert second.status_code == 401
    assert "set-cookie" not in second.headers


async def test_a_knock_uses_up_no_sign_in_address(front: Any) -> None:
    token = {"token": front.keyring.issue_ticket(OPERATOR)}
    assert (await front.nobody.head("/", params=token)).status_code == 200
    assert (await front.nobody.get("/", params=token)).status_code == 303


async def test_the_page_shows_what_happened_and_escapes_it(front: Any) -> None:
    text = "<script>alert(1)</script>"
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    reply = (await front.operator.post("/v1/chat/completions", json=body)).json()
    given = {"target": reply["id"], "kind": "correction", "text": "<b>no</b>"}
    await front.operator.post("/v1/feedback", json=given)
    cookie = {"cookie": f"anubhav={front.keyring.issue_ticket(OPERATOR)}"}
    page = await front.nobody.get("/", headers=cookie)
    assert page.status_code == 200
    assert reply["id"] in page.text
    assert "&lt;script&gt;" in page.text
    assert "corrected: &lt;b&gt;no" in page.text
    assert "<script>" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"


async def test_without_sign_in_the_page_shows_nothing_of_the_house(front: Any) -> None:
    page = await front.nobody.get("/")
    assert page.status_code == 401
    assert "anubhav serve" in page.text
    assert "tiny" not in page.text
    user = Principal("ann", "key_2", operator=False)
    assert (
        await front.nobody.get("/", headers={"cookie": f"anubhav={front.keyring.issue_ticket(user)}"})
    ).status_code == 401


async def test_static_files_are_those_of_the_page_only(front: Any) -> None:
    style = await front.nobody.get("/static/style.css")
    assert style.headers["content-type"].startswith("text/css")
    again = await front.nobody.get("/static/style.css", headers={"if-none-match": style.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await front.nobody.get("/static/home.html")).status_code == 404
    assert (await front.nobody.get("/static/..%2fhome.html")).status_code in (401, 404)


async def test_another_pages_form_cannot_act_with_the_cookie(front: Any) -> None:
    headers = {"cookie": f"anubhav={front.keyring.issue_ticket(OPERATOR)}", "origin": "http://evil.example"}
    assert (await front.nobody.post("/v1/rollback", json={"why": "x"}, headers=headers)).status_code == 403
