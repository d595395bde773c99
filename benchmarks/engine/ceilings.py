"""What this machine can do at best: matrix products in fp32 and bf16 at the model's shapes, and reading memory.

    python -m benchmarks.engine.ceilings [--quick] [--rounds 5] [--threads 2]

The products are torch's oneDNN ones with the weight in oneDNN's own layout, at the largest shapes of the model with
2048 rows; the fastest shape counts. The other benchmarks measure the same limits between their own rounds.
"""

from benchmarks.stand.environments import NotRun
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.machine import limits
from benchmarks.stand.session import fail_without, options, session


def main() -> None:
    with (
        session("ceilings", options(__doc__ or "", rounds=5)) as here,
        limits(here.shape, seconds=0.2 if here.quick else 2) as machine,
    ):
        cases = {
            "GEMM float32": ("GFLOP/s", lambda: machine.gemm("float32")),
            "GEMM bfloat16": ("GFLOP/s", lambda: machine.gemm("bfloat16")),
            "memory read": ("GB/s", machine.read),
        }
        for case, (unit, measure) in cases.items():
            record = Record("ceilings", case, unit, None)
            try:
                here.add(Record("ceilings", case, unit, Figure(case, [measure() for _ in range(here.rounds)])))
            except NotRun as problem:
                here.miss(record, problem)
    fail_without(here.records)


if __name__ == "__main__":
    main()
