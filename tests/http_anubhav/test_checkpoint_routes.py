"""Models and checkpoints over HTTP: what is listed, where each comes from, its files, its time, and whose it is."""

import io
import tarfile
from typing import Any

from school import ask, teach_talks

from anubhav.training.client import RunClient
from anubhav.types.training import LoraSpec

TTL = 86_400


async def saved(house: Any, tenant: str, name: str = "taught", origin: LoraSpec | str | None = None) -> str:
    client = await RunClient.start(house.desk, tenant, "tiny", origin or LoraSpec(rank=4), tag="lineage")
    return str((await client.save(name, "sampler_weights")).path)


def place(path: str) -> str:
    return "/v1/checkpoints/" + path.removeprefix("tinker://")


async def test_the_library_tells_licence_size_and_whether_it_fits(front: Any) -> None:
    found = (await front.operator.get("/v1/library")).json()
    first = found["data"][0]
    assert (first["name"], first["served"], first["present"]) == ("tiny", True, True)
    assert found["memory_bytes"] > 10**8
    known = {one["name"]: one for one in found["data"]}["smollm2-135m-instruct"]
    assert (known["licence"], known["present"], known["fits"]) == ("Apache-2.0", False, None)
    assert known["download_bytes"] > 10**7
    assert (await front.user.get("/v1/library")).status_code == 403


async def test_checkpoints_come_a_page_at_a_time_and_are_the_tenants_own(front: Any) -> None:
    anns = [await saved(front.house, "ann", f"one-{number}") for number in range(3)]
    laps = await saved(front.house, "anubhav")
    first = (await front.operator.get("/v1/checkpoints", params={"limit": 2})).json()
    assert [one["path"] for one in first["data"]] == [laps, anns[2]]
    rest = (await front.operator.get("/v1/checkpoints", params={"before": first["next"]})).json()
    assert [one["path"] for one in rest["data"]] == [anns[1], anns[0]]
    assert rest["next"] is None
    assert [one["path"] for one in (await front.user.get("/v1/checkpoints")).json()["data"]] == anns[::-1]
    assert (await front.user.get(place(laps))).status_code == 404
    assert (await front.user.get(f"{place(laps)}/archive")).status_code == 404
    assert (await front.user.patch(place(laps), json={"public": True})).status_code == 404
    assert (await front.user.delete(place(laps))).status_code == 404


async def test_each_leads_to_what_it_began_with_and_to_what_began_with_it(front: Any) -> None:
    root = await saved(front.house, "ann", "root")
    child = await saved(front.house, "ann", "child", origin=root)
    grandchild = await saved(front.house, "ann", "grandchild", origin=child)
    await front.user.patch(place(root), json={"public": True})
    other = await saved(front.house, "anubhav", "other", origin=root)
    for path in (root, child, grandchild):
        lines = (await front.operator.get(place(path))).json()["lines"]
        assert [(line["depth"], line["source"], line["checkpoints"]) for line in lines] == [
            (0, None, [root]), (1, root, [child]), (2, child, [grandchild]), (1, root, [other]),
        ]  # fmt: skip
    own = (await front.user.get(place(child))).json()["lines"]
    assert [line["checkpoints"] for line in own] == [[root], [child], [grandchild]]
    heads = (await front.operator.get("/v1/checkpoints")).json()["data"]
    assert {one["path"]: one["source"] for one in heads}[grandchild] == child
    copy = (await front.user.post("/api/v1/copy_weights", json={"source_path": child})).json()["tinker_path"]
    lines = (await front.user.get(place(copy))).json()["lines"]
    assert [line["source"] for line in lines if copy in line["checkpoints"]] == [child]
    assert lines[0]["checkpoints"] == [root]


async def test_the_operator_takes_keeps_shares_and_deletes_what_laps_made(front: Any) -> None:
    taught = await teach_talks(front.house.desk, front.house.renderers["tiny"], "anubhav", [(ask("hi"), "hello")])
    where = place(str(taught.path))
    packed = await front.operator.get(f"{where}/archive")
    assert packed.headers["content-disposition"] == 'attachment; filename="taught.tar.gz"'
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as archive:
        assert {"adapter_config.json", "adapter_model.safetensors"} <= set(archive.getnames())
    kept = (await front.operator.patch(where, json={"ttl_seconds": TTL, "public": True})).json()
    assert abs(kept["expires_at"] - kept["created_at"] - TTL) < 60
    assert kept["public"] is True
    assert (await front.user.get(where)).status_code == 200
    assert (await front.user.patch(where, json={"public": False})).status_code == 404
    assert (await front.operator.patch(where, json={"ttl_seconds": 60})).status_code == 400
    assert (await front.operator.patch(where, json={"ttl_seconds": None})).json()["expires_at"] is None
    assert (await front.operator.delete(where)).json()["deleted"] is True
    assert (await front.operator.get(where)).status_code == 404
