"""Do the pages cost the same in a large house as in a small one? The whole server without its socket, on the fake
engine, with a database of a thousand to a million episodes, half as many judgements, and a thousand runs.

    python -m benchmarks.console.pages [--sizes 1000,10000,100000,1000000] [--rounds 9]

Processor milliseconds of a page, the median, so that the machine's other work counts little. A page passes while the
largest house costs at most twice the smallest, or two milliseconds more.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx2

from anubhav.app import build
from anubhav.catalog.folders import inspect
from anubhav.http.app import create_app
from anubhav.http.auth import COOKIE
from anubhav.http.door import LOOPBACK
from anubhav.settings import Settings
from anubhav.store.vault import DATABASE
from anubhav.types.models import Principal
from benchmarks.console.filling import fill
from benchmarks.stand.machine import commit, describe, processors

_RATIO, _SLACK = 2.0, 2.0
_OPERATOR = Principal("local", "key_bench", operator=True)
PAGES = (
    "/", "/playground", "/review", "/sessions", "/sessions?before={middle}", "/sessions/visit-1", "/episodes/{episode}",
    "/feedback", "/feedback?before={middle}", "/feedback?kind=correction", "/feedback?rater=local/rater-3", "/rewards",
    "/gates", "/releases", "/training_runs", "/training_runs/{run}", "/memory", "/v1/overview", "/v1/feedback",
)  # fmt: skip


async def measure(folder: Path, size: int, rounds: int) -> dict[str, float]:
    """Milliseconds by page."""
    model = inspect(folder / "tiny", "tiny", repair="")
    settings = Settings(folder / "data", folder / "models", models=("tiny",))
    async with build(settings, {"tiny": model}) as (house, keyring):
        app = create_app(house, keyring, hosts=LOOPBACK)
        place = {
            "middle": size // 4,
            "episode": f"ep_{size // 2:024d}",
            "run": (await house.runs.page(None, None, 1))[0].id,
        }
        cookie = {"cookie": f"{COOKIE}={keyring.issue_ticket(_OPERATOR)}"}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=cookie) as client:
            return {page: await _cost(client, page.format(**place), rounds) for page in PAGES}


async def _cost(client: httpx2.AsyncClient, path: str, rounds: int) -> float:
    found: list[float] = []
    for number in range(rounds + 1):
        begun = time.process_time()
        answer = await client.get(path)
        if number:
            found.append(1e3 * (time.process_time() - begun))
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text[:300]}")
    return median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    sizes = sorted(int(one) for one in asked.sizes.split(","))
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from fake_model import write_model

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(folder / "tiny")
        costs: dict[int, dict[str, float]] = {}
        for size in sizes:
            fill(folder / "data" / DATABASE, size)
            costs[size] = asyncio.run(measure(folder, size, asked.rounds))
    print(_table(costs))
    print(json.dumps(_told(costs)))


def _table(costs: dict[int, dict[str, float]]) -> str:
    lines = [f"{'page':<32}" + "".join(f"{size:>12,}" for size in costs)]
    lines += [f"{page:<32}" + "".join(f"{found[page]:>9.1f} ms" for found in costs.values()) for page in PAGES]
    return "\n".join(lines)


def _told(costs: dict[int, dict[str, float]]) -> dict[str, object]:
    small, large = costs[min(costs)], costs[max(costs)]
    worst = {page: round(large[page] / small[page], 2) for page in PAGES}
    flat = all(large[page] <= max(_RATIO * small[page], small[page] + _SLACK) for page in PAGES)
    return {
        "benchmark": "console-pages",
        "claim": "a page of the largest house costs at most twice that of the smallest",
        "passed": flat,
        "ratio": worst,
        "milliseconds": {
            str(size): {page: round(one, 2) for page, one in found.items()} for size, found in costs.items()
        },
        "machine": describe(processors()),
        "commit": commit(),
    }


if __name__ == "__main__":
    main()
