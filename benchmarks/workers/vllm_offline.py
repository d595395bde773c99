"""vLLM in its own process without HTTP, which favours it; eager or compiled, with or without its LoRA."""

import time
from typing import Any

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

from benchmarks.stand import batches
from benchmarks.stand.jobs import answer_jobs
from benchmarks.stand.model import RANK

_KEPT: dict[str, Any] = {}


def load(folder: str, dtype: str, *, eager: bool, adapters: list[str], streams: int, context: int) -> None:
    """`adapters` are PEFT folders; without any the LoRA of vLLM is off."""
    lora: dict[str, Any] = {}
    if adapters:
        lora = {
            "enable_lora": True,
            "max_loras": len(adapters),
            "max_cpu_loras": len(adapters),
            "max_lora_rank": RANK,
        }
    _KEPT["model"] = LLM(
        folder, dtype=dtype, enforce_eager=eager, max_num_seqs=streams, max_model_len=context, seed=0, **lora
    )
    _KEPT["adapters"] = [LoRARequest(f"adapter-{n}", n + 1, path) for n, path in enumerate(adapters)]


def generate(streams: int, prompt: int, new: int, number: int, adapters: int) -> list[float]:
    """Seconds of so many requests together, with the log-probability of each token, and their tokens."""
    asked = [{"prompt_token_ids": tokens} for tokens in batches.prompts(streams, prompt, number)]
    params = SamplingParams(temperature=1.0, max_tokens=new, ignore_eos=True, logprobs=0, detokenize=False)
    loras = [_KEPT["adapters"][place % adapters] for place in range(streams)] if adapters else None
    started = time.perf_counter()
    replies = _KEPT["model"].generate(asked, params, lora_request=loras, use_tqdm=False)
    return [time.perf_counter() - started, sum(len(reply.outputs[0].token_ids) for reply in replies)]


if __name__ == "__main__":
    answer_jobs({"load": load, "generate": generate})
