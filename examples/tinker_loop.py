"""A training loop with the Tinker SDK: LoRA on a handful of lines, then a sample from what was learned.

anubhav serve                       # in another terminal
export TINKER_BASE_URL=http://127.0.0.1:8000 TINKER_API_KEY=tml-…
python examples/tinker_loop.py [base model]
"""

import sys

import tinker
from tinker import types

LINES = ["The house song begins: amber moss and copper heron.", "The house song ends: quill and lantern."]
STEPS = 12


def datum(tokens: list[int]) -> types.Datum:
    """Position i of the targets is what should follow the tokens up to i."""
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)},
    )


def main() -> None:
    service = tinker.ServiceClient()
    models = service.get_server_capabilities().supported_models
    base = sys.argv[1] if len(sys.argv) > 1 else models[0].model_name
    trainer = service.create_lora_training_client(base_model=base, rank=16, seed=0)
    tokenizer = trainer.get_tokenizer()
    data = [datum(tokenizer.encode(line)) for line in LINES]
    for step in range(STEPS):
        work = trainer.forward_backward(data, "cross_entropy")
        update = trainer.optim_step(types.AdamParams(learning_rate=5e-4))
        update.result()
        print(f"step {step}: loss {work.result().metrics['loss:sum']:.3f}")
    sampler = trainer.save_weights_and_get_sampling_client(name="house-song")
    prompt = types.ModelInput.from_ints(tokenizer.encode("The house song begins:"))
    params = types.SamplingParams(max_tokens=10, temperature=0.0)
    answer = sampler.sample(prompt=prompt, sampling_params=params, num_samples=1).result()
    print(tokenizer.decode(answer.sequences[0].tokens))


if __name__ == "__main__":
    main()
