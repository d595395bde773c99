"""transformers with PEFT, as their documentation shows them: the model's own loss, AdamW, `generate`."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.stand import batches
from benchmarks.stand.jobs import answer_jobs
from benchmarks.stand.model import RANK

_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_KEPT: dict[str, Any] = {}
_STEP = 1e-5


def load(folder: str, dtype: str, *, autocast: bool = False, adapters: int = 0) -> None:
    """The model with so many adapters; `autocast` keeps its weights in `dtype` and multiplies in bf16."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    if adapters:
        # B starts at random, not at zero: zeros could be computed faster.
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=_LINEARS, init_lora_weights=False)
        model = get_peft_model(model, config)
        for number in range(1, adapters):
            model.add_adapter(f"adapter-{number}", config)
    _KEPT.update(model=model, autocast=autocast)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if trained:
        _shrink(trained)
        _KEPT["optimizer"] = torch.optim.AdamW(trained, lr=_STEP)


@torch.no_grad()
def _shrink(weights: list[torch.Tensor]) -> None:
    """PEFT's random B is loud enough to drown the model."""
    for weight in weights:
        weight.mul_(0.01)


def _arithmetic() -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if _KEPT["autocast"] else nullcontext()


def sft_step(lengths: list[int], number: int) -> float:
    """Seconds of one padded batch, forward, backward and optimizer step."""
    documents, longest = batches.documents(lengths, number), max(lengths)
    # Every engine gets inputs of `lengths`; the model shifts the labels itself, so the last target is left out here.
    inputs = torch.tensor([each[:-1] + [0] * (longest - len(each) + 1) for each in documents])
    mask = torch.tensor([[1] * (len(each) - 1) + [0] * (longest - len(each) + 1) for each in documents])
    model, optimizer = _KEPT["model"].train(), _KEPT["optimizer"]
    started = time.perf_counter()
    with _arithmetic():
        loss = model(input_ids=inputs, attention_mask=mask, labels=inputs.masked_fill(mask == 0, -100)).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - started


def grouped_step(shape: list[int], number: int, rows: int) -> float:
    """Seconds of one policy-gradient step over all groups, `rows` sequences at a time, so that it fits into memory."""
    rollouts = [each for group in batches.groups(*shape, number) for each in group]
    model, optimizer = _KEPT["model"].train(), _KEPT["optimizer"]
    started = time.perf_counter()
    for start in range(0, len(rollouts), rows):
        some = rollouts[start : start + rows]
        inputs = torch.tensor([each.prompt + each.reply for each in some])
        replies = torch.tensor([each.reply for each in some])
        old, gain = torch.tensor([each.logprobs for each in some]), torch.tensor([[each.advantage] for each in some])
        with _arithmetic():
            # Only where a reply token is foretold: the head is a third of the work.
            logits = model(input_ids=inputs, logits_to_keep=replies.shape[1] + 1).logits[:, :-1].float()
        logprobs = logits.log_softmax(-1).gather(-1, replies[..., None]).squeeze(-1)
        (-(torch.exp(logprobs - old) * gain).sum()).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - started


@torch.inference_mode()
def generate(streams: int, prompt: int, new: int, number: int, adapters: int) -> list[float]:
    """Seconds of one batch, sampled at temperature 1 and not stopped before its time, and its tokens."""
    inputs = torch.tensor(batches.prompts(streams, prompt, number))
    words: dict[str, Any] = {}
    if adapters > 1:
        names = ["default", *(f"adapter-{each}" for each in range(1, adapters))]
        words["adapter_names"] = [names[place % adapters] for place in range(streams)]
    started = time.perf_counter()
    made = _KEPT["model"].eval().generate(
        input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        min_new_tokens=new, max_new_tokens=new, pad_token_id=0, **words,
    )  # fmt: skip
    return [time.perf_counter() - started, made.numel() - inputs.numel()]


def write_adapters(folder: str, to: str, count: int) -> list[str]:
    """So many random adapters of the model as PEFT folders."""
    load(folder, "float32", adapters=count)
    names = list(_KEPT["model"].peft_config)
    _KEPT["model"].save_pretrained(to)
    # PEFT keeps the first one, called "default", in the folder itself.
    return [to if name == "default" else str(Path(to) / name) for name in names]


if __name__ == "__main__":
    answer_jobs({job.__name__: job for job in (load, sft_step, grouped_step, generate, write_adapters)})
