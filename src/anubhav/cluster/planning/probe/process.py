"""The probe in a process of its own, kept for as long as one plan is made; its errors are raised here."""

import importlib.util
import logging
import multiprocessing
import os
import warnings
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.adapter import Adapter
from anubhav.cluster.planning.census import Census
from anubhav.cluster.planning.probe.figures import Measured, Traced
from anubhav.errors import Broken, MissingPart


class Probe:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def census(self, config: Mapping[str, Any]) -> Census:
        return self._run(_census, config)

    def measure(
        self, config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout
    ) -> tuple[Measured, ...]:
        return self._run(_measure, config, census, adapter, layout)

    def trace(self, config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, tokens: int) -> Traced:
        return self._run(_trace, config, census, adapter, layout, tokens)

    def _run(self, function: Any, *arguments: Any) -> Any:
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as problem:
            raise Broken(
                "The process that instantiates the model ended before it answered",
                hint="Is there memory for it? About 1 GB is enough.",
            ) from problem


@contextmanager
def open_probe() -> Generator[Probe]:
    """Raises MissingPart where transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingPart(
            "The planner instantiates models with transformers, which is not installed",
            hint="Type: pip install 'anubhav[transformers]'",
        )
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawned, initializer=_prepare) as pool:
        yield Probe(pool)


def _prepare() -> None:
    """Before torch is imported: nothing that is planned touches a card, and small operations need no threads.

    What libraries warn of as they are imported is nothing to who plans.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")


def _census(config: Mapping[str, Any]) -> Census:
    from anubhav.cluster.planning.probe.reading import read_census

    return read_census(config)


def _measure(config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout) -> tuple[Measured, ...]:
    from anubhav.cluster.planning.probe.measuring import measure

    return measure(config, census, adapter, layout)


def _trace(config: Mapping[str, Any], census: Census, adapter: Adapter, layout: Layout, tokens: int) -> Traced:
    from anubhav.cluster.planning.probe.trace import trace

    return trace(config, census, adapter, layout, tokens)
