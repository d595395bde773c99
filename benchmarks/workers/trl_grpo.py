"""TRL's GRPO trainer on given rollouts: its own loss and AdamW, without its generation and its data loading."""

import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from benchmarks.stand import batches
from benchmarks.stand.jobs import answer_jobs
from benchmarks.stand.model import RANK

_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_KEPT: dict[str, Any] = {}


def load(folder: str, scratch: str, each: int, reply: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = GRPOConfig(
        output_dir=scratch, use_cpu=True, use_vllm=False, bf16=False, per_device_train_batch_size=each,
        num_generations=each, max_completion_length=reply, loss_type="grpo", learning_rate=1e-5, report_to=[],
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "never asked"}]),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=RANK, lora_alpha=RANK, target_modules=_LINEARS),
    )
    _KEPT.update(trainer=trainer, optimizer=trainer.create_optimizer())


def grouped_step(shape: list[int], number: int, rows: int) -> float:
    """Seconds of one optimizer step over all groups, `rows` sequences at a time."""
    rollouts = [each for group in batches.groups(*shape, number) for each in group]
    trainer, optimizer = _KEPT["trainer"], _KEPT["optimizer"]
    model = trainer.model.train()
    trainer.current_gradient_accumulation_steps = max(1, len(rollouts) // rows)
    started = time.perf_counter()
    for start in range(0, len(rollouts), rows):
        some = rollouts[start : start + rows]
        prompts, replies = torch.tensor([each.prompt for each in some]), torch.tensor([each.reply for each in some])
        inputs = {
            "prompt_ids": prompts,
            "prompt_mask": torch.ones_like(prompts),
            "completion_ids": replies,
            "completion_mask": torch.ones_like(replies),
            "advantages": torch.tensor([each.advantage for each in some]),
            "old_per_token_logps": torch.tensor([each.logprobs for each in some]),
        }
        trainer.accelerator.backward(trainer.compute_loss(model, inputs))
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - started


if __name__ == "__main__":
    answer_jobs({"load": load, "grouped_step": grouped_step})
