"""The line to a worker: results, failures, an answer that comes too late, a process that ends."""

import sys
from collections.abc import Iterator

import pytest

from benchmarks.stand.environments import NotRun
from benchmarks.stand.processes import BENCHMARKS, Worker, started

WORKER = """
import os, sys, time
from benchmarks.stand.jobs import answer_jobs

def add(a, b):
    print("a library talks")
    return a + b

def fail():
    raise ValueError("no such thing")

def sleep():
    time.sleep(1)

def leave():
    print("out of memory", file=sys.stderr, flush=True)
    os._exit(3)

answer_jobs({"add": add, "fail": fail, "sleep": sleep, "leave": leave})
"""


@pytest.fixture
def line() -> Iterator[Worker]:
    with started([sys.executable, "-c", WORKER], cwd=BENCHMARKS.parent, side="ours") as running:
        yield Worker(running)


def test_a_result_comes_back_whatever_is_printed(line: Worker) -> None:
    assert line.call("add", a=2, b=3) == 5
    assert line.call("add", a="x", b="y") == "xy"


def test_a_failure_says_why_and_whose_it_is_and_ends_nothing(line: Worker) -> None:
    with pytest.raises(NotRun, match="fail: ValueError: no such thing") as told:
        line.call("fail")
    assert told.value.side == "ours"
    assert line.call("add", a=1, b=1) == 2


def test_a_late_answer_is_never_taken_for_that_of_the_next_job(line: Worker) -> None:
    for job in ("sleep", "add"):
        with pytest.raises(NotRun, match="sleep was not done after 0 s"):
            line.call(job, within=0.1)


def test_an_ended_process_is_told_with_its_last_words(line: Worker) -> None:
    for message in ("ended during leave: out of memory", "ended: out of memory|ended during leave: out of memory"):
        with pytest.raises(NotRun, match=message):
            line.call("leave")


def test_memory_is_that_of_the_process_and_its_children(line: Worker) -> None:
    line.call("add", a=1, b=1)
    assert line.running.family() == [line.running.process.pid]
    line.running.forget_peak()
    assert 1 << 20 < line.running.peak_bytes() < 1 << 30
