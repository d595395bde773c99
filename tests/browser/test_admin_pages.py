"""Admin: keys made, shown once and revoked, a quota, usage, health, the audit; and the planner."""

import httpx2
from loopback import Loopback
from playwright.sync_api import Page
from seeds import grow
from windows import look_closely


def test_a_key_is_made_shown_once_and_revoked(page: Page, server: Loopback) -> None:
    page.goto("/keys?new_key=true&key_name=laptop")
    look_closely(page)
    assert page.input_value("[name=note]") == "laptop"
    page.fill("[name=tenant]", "shop")
    page.uncheck("[name=scopes][value=train]")
    page.click("text=Make the key >> nth=-1")
    page.wait_for_selector("#new-key")
    key = page.inner_text("#new-key")
    assert key.startswith("tml-")
    page.click("dialog >> text=Copy")
    assert page.evaluate("navigator.clipboard.readText()") == key
    page.click("dialog >> text=Close")
    page.wait_for_url("**/keys?tenant=shop")
    assert key not in page.content()
    with httpx2.Client(base_url=server.url, headers={"x-api-key": key}, trust_env=False) as shop:
        assert shop.get("/v1/models").status_code == 200
        assert shop.get("/api/v1/training_runs").status_code == 200
        page.fill("[name=tokens_a_day]", "1000")
        page.click("text=Set the quota")
        page.wait_for_selector(".toast")
        assert server.run(server.keyring.quota("shop"))[0].tokens_a_day == 1000
        name = next(one.id for one in server.run(server.keyring.keys()) if one.tenant == "shop")
        page.goto(f"/keys/{name}")
        page.click("[data-revoke]")
        page.click("text=Revoke it")
        page.wait_for_selector("text=revoked")
        assert shop.get("/v1/models").status_code == 401


def test_health_settings_usage_and_the_audit(page: Page, server: Loopback) -> None:
    server.run(grow(server.house))
    page.goto("/admin")
    look_closely(page)
    health = page.inner_text("[aria-labelledby=health]")
    assert "data folder" in health
    assert "engine" in health
    assert "checkpoint_create" in page.inner_text("[aria-labelledby=audit]")
    page.goto("/keys")
    assert "checkpoints saved" in page.inner_text("[aria-labelledby=used]")


def test_a_cluster_is_planned(page: Page) -> None:
    page.goto("/plan")
    look_closely(page)
    page.fill("[name=model]", "smollm2-135m")
    page.fill("[name=gpus]", "1")
    page.fill("[name=sequence]", "128")
    page.fill("[name=batch]", "1")
    page.click("text=Plan it")
    page.wait_for_selector("#making")
    page.wait_for_selector("text=The best layout", timeout=60_000)
    assert "tp=1 pp=1 ep=1 sp=1 fsdp=1" in page.inner_text("main")
    assert page.input_value("[name=sequence]") == "128"
    page.click("summary >> nth=0")
    assert "--layout tp=1,pp=1,ep=1,sp=1,fsdp=1 --write FOLDER" in page.inner_text("details.ways")
    look_closely(page)
    page.fill("[name=model]", "no-such-model")
    page.click("text=Plan it")
    page.wait_for_selector("main >> text=There is no model")
