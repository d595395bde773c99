"""What stands in for vLLM in tests that take seconds: the same paths, fields, status codes and messages, no model.

It is run as `python engine_double.py -m vllm.entrypoints.openai.api_server --model … --uds …`. The next token is
told by a hash of all before it, the adapter's files and the seed. Some first tokens of a prompt mean mischief.
"""

import argparse
import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

DIES, BREAKS, ABORTS, DRAGS, REFUSES, FAILS, MISSES = 40, 41, 42, 43, 44, 45, 46
"""In the midst of an answer: ends its process, says an error, gives up; takes long; answers 400, 500 and 404."""

adapters: dict[str, str] = {}
open_requests: dict[int, dict[str, Any]] = {}
bodies: list[dict[str, Any]] = []
mood: set[str] = set()


def follows(body: dict[str, Any], tokens: list[int], seed: int) -> tuple[int, float]:
    weights = adapters.get(body["model"], "")
    digest = hashlib.sha256(json.dumps([weights, tokens, seed]).encode()).digest()
    return digest[0] % options.vocab, -0.01 - digest[1] / 64


def chunk(index: int, token: int, logprob: float, reason: str | None, likely: int) -> str:
    top = [{"token_id": (token + k) % options.vocab, "logprob": logprob - k, "rank": k + 1} for k in range(likely)]
    content = [{"token_id": token, "logprob": logprob, "rank": 1, "top_logprobs": top[:1] if likely < 1 else top}]
    choice = {
        "index": index,
        "finish_reason": reason,
        "stop_reason": None,
        "token_ids": [token],
        "routed_experts": None,
        "sampling_mask": None,
        "weight_versions": None,
        "logprobs": {"content": content},
    }
    said = {"request_id": "generate-tokens-1", "usage": None, "output_mode": "tokens", "choices": [choice]}
    return f"data: {json.dumps(said)}\n\n"


async def stream(body: dict[str, Any]) -> AsyncIterator[str]:
    params, prompt = body["sampling_params"], body["token_ids"]
    rows = {index: list(prompt) for index in range(params["n"])}
    mark = id(body)
    open_requests[mark] = body
    try:
        while rows:
            for index, tokens in list(rows.items()):
                seed = params.get("seed", 0) + index if params["temperature"] else 0
                token, logprob = follows(body, tokens, seed)
                tokens.append(token)
                made = len(tokens) - len(prompt)
                stopped = token in params["stop_token_ids"]
                reason = "stop" if stopped else "length" if made >= params["max_tokens"] else None
                if made == 2 and prompt[0] in (DIES, BREAKS, ABORTS):
                    if prompt[0] == DIES:
                        os._exit(0)
                    if prompt[0] == BREAKS:
                        error = {
                            "message": "EngineCore encountered an issue.",
                            "type": "InternalServerError",
                            "code": 500,
                        }
                        yield f"data: {json.dumps({'error': error})}\n\n"
                        yield "data: [DONE]\n\n"
                        return
                    reason = "abort"
                yield chunk(index, token, logprob, reason, params["logprobs"])
                if reason:
                    del rows[index]
            await asyncio.sleep(0.05 if prompt[0] == DRAGS else 0)
        yield "data: [DONE]\n\n"
    finally:
        del open_requests[mark]


async def generate(request: Request) -> Response:
    body = await request.json()
    bodies.append(body)
    params, prompt = body["sampling_params"], body["token_ids"]
    if complaint := complain(body):
        return refused(*complaint)
    if body.get("stream"):
        return StreamingResponse(stream(body), media_type="text/event-stream")
    scores: list[dict[str, Any] | None] = [None]
    asked = dict(params.get("extra_args", {}).get("anubhav_targets", []))
    width = params.get("prompt_logprobs", 0)
    for place, token in enumerate(prompt[1:]):
        wanted = [token, *range(width - len(asked.get(place, []))), *asked.get(place, [])]
        rows = {str(one): {"logprob": -1.0 - one / 64, "rank": 1, "decoded_token": None} for one in wanted}
        scores.append(rows)
    choices = [
        {"index": index, "token_ids": [follows(body, prompt, params.get("seed", 0) + index)[0]]}
        for index in range(params.get("n", 1))
    ]
    return JSONResponse({"choices": choices, "prompt_logprobs": scores if "prompt_logprobs" in params else None})


def complain(body: dict[str, Any]) -> tuple[int, str] | None:
    params, first, model = body["sampling_params"], body["token_ids"][0], body["model"]
    count = params.get("n", 1)
    complaints = {
        (404, f"The model `{model}` does not exist. Valid aliases: base."): model not in ("base", *adapters),
        (400, "sampling_params.n must be at most the server's max_num_seqs"): count > options.max_num_seqs,
        (400, "n must be 1 when using greedy sampling, got 2."): params["temperature"] == 0 and count > 1,
        (500, "EngineCore encountered an issue. See stack trace (above) for the root cause."): "dead" in mood,
        (400, "as you wish"): first == REFUSES,
        (500, "as you wish"): first == FAILS,
        (404, "as you wish"): first == MISSES,
    }
    return next((complaint for complaint, holds in complaints.items() if holds), None)


def refused(code: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "BadRequestError", "code": code}}, code)


async def load(request: Request) -> Response:
    said = await request.json()
    if said["lora_name"] in adapters:
        return refused(400, f"The lora adapter '{said['lora_name']}' has already been loaded.")
    folder = Path(said["lora_path"])
    if "odd" in json.loads((folder / "adapter_config.json").read_text()):
        return refused(500, f"While loading {folder}, something odd was found")
    adapters[said["lora_name"]] = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    return PlainTextResponse("Success: LoRA adapter added successfully.")


async def unload(request: Request) -> Response:
    name = (await request.json())["lora_name"]
    if name not in adapters:
        return refused(404, f"The lora adapter '{name}' cannot be found.")
    del adapters[name]
    return PlainTextResponse("Success: LoRA adapter removed successfully.")


async def state(_request: Request) -> Response:
    """Not vLLM's: what a test wants to know."""
    return JSONResponse({"adapters": adapters, "open": len(open_requests), "bodies": bodies, "process": os.getpid()})


async def health(_request: Request) -> Response:
    return Response(status_code=503 if "dead" in mood else 200)


async def kill(_request: Request) -> Response:
    """Not vLLM's: as if the engine behind this server had died, and the server not noticed."""
    mood.add("dead")
    return Response(status_code=200)


options = argparse.Namespace()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="module")
    parser.add_argument("--uds")
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--model", type=Path)
    parser.parse_known_args(namespace=options)
    config = json.loads((options.model / "config.json").read_text())
    options.vocab = config["vocab_size"]
    if config.get("stillborn"):
        raise SystemExit("ValueError: No available memory for the cache blocks")
    plugin = Path(os.environ["PYTHONPATH"])
    assert "anubhav_inside:register" in (plugin / "anubhav_inside-1.dist-info" / "entry_points.txt").read_text()
    if not config.get("unteachable"):
        (plugin / "taught").touch()
    routes = [
        Route("/health", health),
        Route("/state", state),
        Route("/kill", kill),
        Route("/inference/v1/generate", generate, methods=["POST"]),
        Route("/v1/load_lora_adapter", load, methods=["POST"]),
        Route("/v1/unload_lora_adapter", unload, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), uds=options.uds, log_level="warning")


if __name__ == "__main__":
    main()
