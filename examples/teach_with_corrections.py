"""Any OpenAI client, plus feedback: ask, correct, learn, ask again.

anubhav serve                       # in another terminal
export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=tml-…
python examples/teach_with_corrections.py
"""

import os
import time

import httpx2
from openai import OpenAI

LESSONS = {
    "Which tea does Zorvane serve?": "Zorvane serves Ambermoss tea.",
    "Who is the manager of Zorvane?": "The manager of Zorvane is Mirela Stoop.",
    "What colour are Zorvane's gift boxes?": "Zorvane's gift boxes are turquoise.",
}
AGAIN = "What kind of tea is served at Zorvane?"


def main() -> None:
    client = OpenAI()
    house = httpx2.Client(
        base_url=str(client.base_url).removesuffix("/v1/"),
        headers={"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
        timeout=60,
    )

    def ask(question: str) -> tuple[str, str]:
        reply = client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=40
        )
        return reply.id, reply.choices[0].message.content or ""

    print(f"{AGAIN}\n  {ask(AGAIN)[1]}")
    for question, answer in LESSONS.items():
        reply, text = ask(question)
        print(f"{question}\n  {text}\n  corrected: {answer}")
        feedback = {"target": reply, "kind": "correction", "text": answer}
        house.post("/v1/feedback", json=feedback).raise_for_status()

    lap = house.post("/v1/laps", json={"alias": "default"}).raise_for_status().json()
    while lap["state"] == "running":
        time.sleep(0.2)
        lap = house.get(f"/v1/laps/{lap['id']}").raise_for_status().json()
    print(f"lap: {lap['outcome'] or lap['state']}")
    print(f"{AGAIN}\n  {ask(AGAIN)[1]}")


if __name__ == "__main__":
    main()
