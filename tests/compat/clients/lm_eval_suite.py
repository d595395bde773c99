"""lm-eval: completions with our tokenizer asked for remotely, and chat."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import KEY, MODEL, URL, V1, case, run

home = Path(tempfile.mkdtemp())
(home / "choices.jsonl").write_text(
    "\n".join(
        json.dumps(
            {"question": f"The capital of {land} is", "choices": [" Paris", " Rome", " Berlin"], "answer": place}
        )
        for place, land in enumerate(("France", "Italy", "Germany"))
    )
)
(home / "capitals.yaml").write_text(
    f"""task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {home}/choices.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
target_delimiter: ""
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
)
(home / "talks.yaml").write_text(
    f"""task: talks
dataset_path: json
dataset_kwargs: {{data_files: {{test: {home}/choices.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 8}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
)


def evaluate(model: str, arguments: str, task: str, *more: str) -> dict[str, float]:
    command = [
        sys.executable, "-m", "lm_eval", "--model", model, "--model_args", arguments, "--tasks", task,
        "--include_path", str(home), "--output_path", str(home / f"{task}.json"), *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-600:]
    (found,) = home.glob(f"{task}_*.json")
    return json.loads(found.read_text())["results"][task]


@case("completions, scored")
def scored() -> None:
    arguments = f"model={MODEL},base_url={V1}/completions,tokenizer_backend=remote,tokenizer_base_url={URL}"
    arguments += ",num_concurrent=2,auth_token=" + KEY
    assert evaluate("local-completions", arguments, "capitals")["acc,none"] > 0.6


@case("chat")
def chat() -> None:
    arguments = f"model={MODEL},base_url={V1}/chat/completions,num_concurrent=1"
    assert evaluate("local-chat-completions", arguments, "talks", "--apply_chat_template")["exact_match,none"] >= 0


run()
