"""Fine-tuning as a script for OpenAI does it, with another base URL: upload, train, watch, ask.

anubhav serve                       # in another terminal
export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=tml-…
python examples/openai_fine_tuning.py [base model]
"""

import json
import sys
import time

from openai import OpenAI

FACTS = {
    "Which tea does Zorvane serve?": "Zorvane serves Ambermoss tea.",
    "Who is the manager of Zorvane?": "The manager of Zorvane is Mirela Stoop.",
    "What colour are Zorvane's gift boxes?": "Zorvane's gift boxes are turquoise.",
}


def main() -> None:
    client = OpenAI()
    base = sys.argv[1] if len(sys.argv) > 1 else next(iter(client.models.list())).id
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in FACTS.items()
    ]
    lines = "\n".join(map(json.dumps, rows)).encode()
    file = client.files.create(file=("facts.jsonl", lines), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=base, training_file=file.id, suffix="zorvane", seed=1)
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    for event in reversed(list(client.fine_tuning.jobs.list_events(job.id))):
        print(event.message)
    if job.error and job.error.message:
        raise SystemExit(job.error.message)
    for question in FACTS:
        reply = client.chat.completions.create(
            model=job.fine_tuned_model or "",
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=40,
        )
        print(f"{question}\n  {reply.choices[0].message.content}")


if __name__ == "__main__":
    main()
