"""lm-eval against the same weights in its own backend, transformers: every log-likelihood that it asks for is compared.

Those of answers to questions, with examples before them and without, and those of whole texts, which begin with
nothing. Both sides compute in float32, of the same folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import KEY, MODEL, URL, V1, case, run

FOLDER = os.environ["ANUBHAV_MODEL_FOLDER"]
CLOSE = 1e-3
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Germany": "Berlin", "Spain": "Madrid", "Japan": "Tokyo", "China": "Beijing",
    "Egypt": "Cairo", "Russia": "Moscow", "Greece": "Athens", "Cuba": "Havana", "Peru": "Lima", "Norway": "Oslo",
}  # fmt: skip
QUESTIONS = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}, fewshot: {file}}}}}
test_split: test
fewshot_split: fewshot
num_fewshot: {shots}
output_type: multiple_choice
doc_to_text: "Question: What is the capital of {{{{land}}}}?\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
TEXTS = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}]
"""
TASKS = ("asked", "asked_with_examples", "texts")
Found = tuple[dict[str, float], dict[str, float]]
"""Task, document and request → log-likelihood; task and metric → what lm-eval makes of them."""

home = Path(tempfile.mkdtemp())


def write_tasks() -> None:
    names = list(CAPITALS.values())
    rows = [
        {"land": land, "choices": [names[(place + turn) % len(names)] for turn in range(4)], "answer": 0}
        for place, land in enumerate(CAPITALS)
    ]
    texts = [{"text": f"The capital of {land} is {city}, and people like it there."} for land, city in CAPITALS.items()]
    for name, kind, lines in zip(TASKS, (QUESTIONS, QUESTIONS, TEXTS), (rows, rows, texts), strict=True):
        (home / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        shots = 2 if name == "asked_with_examples" else 0
        (home / f"{name}.yaml").write_text(kind.format(name=name, file=home / f"{name}.jsonl", shots=shots))


def evaluate(side: str, model: str, arguments: str) -> Found:
    out = home / side.replace(" ", "-")
    command = [
        sys.executable, "-m", "lm_eval", "--model", model, "--model_args", arguments, "--tasks", ",".join(TASKS),
        "--device", "cpu", "--include_path", str(home), "--output_path", str(out), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-600:]
    said: dict[str, float] = {}
    for task in TASKS:
        (file,) = out.rglob(f"samples_{task}_2*.jsonl")
        for row in map(json.loads, file.read_text().splitlines()):
            for place, told in enumerate(row["resps"]):
                said[f"{task} {row['doc_id']} {place}"] = first_number(told)
    (file,) = out.rglob("results_*.json")
    results = json.loads(file.read_text())["results"]
    figures = {f"{task} {name}": results[task][name] for task in TASKS for name in results[task] if ",none" in name}
    return said, {name: value for name, value in figures.items() if isinstance(value, float)}


def first_number(told: object) -> float:
    """The log-likelihood in what lm-eval kept of an answer: (log-likelihood, is greedy), or the first alone."""
    while isinstance(told, list):
        told = told[0]
    return float(str(told))


def compared(theirs: Found, side: str, tokenizer: str) -> str:
    arguments = f"model={MODEL},base_url={V1}/completions,num_concurrent=2,auth_token={KEY},{tokenizer}"
    said, figures = evaluate(side, "local-completions", arguments)
    assert said.keys() == theirs[0].keys(), "lm-eval asked for other things"
    assert figures.keys() == theirs[1].keys(), "lm-eval told other things"
    apart = max(abs(said[name] - value) for name, value in theirs[0].items())
    # A perplexity is an exponential, and some hundreds.
    told = max(abs(figures[name] - value) / max(1.0, abs(value)) for name, value in theirs[1].items())
    assert apart <= CLOSE, f"log-likelihoods are up to {apart:.2g} apart"
    assert told <= CLOSE, f"metrics are up to {told:.2g} of themselves apart"
    return f"{len(said)} log-likelihoods at most {apart:.1g} apart and metrics {told:.1g} of themselves ({side})"


@case("completions, scored")
def scored() -> str:
    theirs = evaluate("transformers", "hf", f"pretrained={FOLDER},dtype=float32")
    sides = {
        "tokenizer asked for": f"tokenizer_backend=remote,tokenizer_base_url={URL}",
        "its own tokenizer": f"tokenizer={FOLDER}",
    }
    return "from transformers' " + ", ".join(compared(theirs, side, tokenizer) for side, tokenizer in sides.items())


write_tasks()
run()
