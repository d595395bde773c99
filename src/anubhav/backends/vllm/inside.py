"""What vLLM is taught when it starts: a copy of this file runs in its environment, and never in ours.

Of vLLM 0.32.0 with its first model runner, which is the only one on a CPU, three things are replaced:
- log-probabilities of sampled tokens are those at the request's temperature, before top-k and top-p, not at 1;
- a prompt is scored with the adapter of its own request, and any tokens can be scored along it in one pass;
- on a CPU, rows without an adapter have none: vLLM gives them the one in the last place, base model included.
Axes: T tokens of a step, R rows of one prompt or of a batch, E hidden, V vocabulary, K columns, A adapters, I inputs,
O outputs, L rank.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "0.32.0"
TARGETS, TOP = "anubhav_targets", "anubhav_top"
_ROWS = 256
"""Of a prompt, whose logits are held at a time."""


def register() -> None:
    """The entry point: vLLM calls it in each of its processes. What it raises ends the start."""
    import vllm

    if vllm.__version__.split("+")[0] != VERSION:
        raise RuntimeError(f"anubhav knows vLLM {VERSION}, and this is {vllm.__version__}")
    from vllm.platforms import current_platform
    from vllm.v1.sample.sampler import Sampler
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    if getattr(Sampler, "anubhav", False):
        return
    Sampler.anubhav = True
    Sampler.forward = _heated(Sampler.forward)
    GPUModelRunner._get_prompt_logprobs_dict = _score_prompts
    if current_platform.is_cpu():
        _give_rows_their_own()
    Path(__file__).with_name("taught").touch()


def _heated(forward: Any) -> Any:
    def heated(self: Any, logits: Any, sampling_metadata: Any, *args: Any, **options: Any) -> Any:
        heats_R = sampling_metadata.temperature
        if heats_R is None:  # all of them greedy, which is scored at 1
            return forward(self, logits, sampling_metadata, *args, **options)
        heats_R1 = heats_R.where(heats_R > 0, 1.0)[:, None]
        # Forward calls this once, on the logits as the model gave them.
        self.compute_logprobs = lambda raw_RV: (raw_RV.float() / heats_R1).log_softmax(-1)
        try:
            return forward(self, logits, sampling_metadata, *args, **options)
        finally:
            del self.compute_logprobs

    return heated


def _score_prompts(self: Any, hidden_TE: Any, scheduled: dict[str, int]) -> dict[str, Any]:
    """In place of GPUModelRunner._get_prompt_logprobs_dict, chunk for chunk of each prompt that is to be scored."""
    from vllm.v1.outputs import LogprobsTensors

    complete: dict[str, Any] = {}
    for request, width in self.num_prompt_logprobs.items():
        if request not in scheduled:  # sent back while it was read
            continue
        state = self.requests[request]
        prompt = state.prompt_token_ids
        if state.in_progress_prompt_logprobs_cpu is None:
            state.in_progress_prompt_logprobs_cpu = LogprobsTensors.empty_cpu(len(prompt) - 1, width + 1)
        first = state.num_computed_tokens
        # As many tokens as are left is no end: what ends it is told with the first token that is made.
        ends = scheduled[request] > len(prompt) - 1 - first
        count = min(scheduled[request], len(prompt) - 1 - first)
        row = int(self.query_start_loc.np[self.input_batch.req_id_to_index[request]])
        for start in range(0, count, _ROWS):
            some = min(_ROWS, count - start)
            _score_rows(self, request, hidden_TE[row + start :][:some], first + start)
        if ends:
            complete[request] = state.in_progress_prompt_logprobs_cpu
    for request in complete:
        del self.num_prompt_logprobs[request]
        self.requests[request].in_progress_prompt_logprobs_cpu = None
    if complete:
        self._sync_device()
    return complete


def _score_rows(self: Any, request: str, hidden_RE: Any, first: int) -> None:
    state = self.requests[request]
    _speak_as(self, request, len(hidden_RE))
    scores_RV = self.model.compute_logits(hidden_RE).float().log_softmax(-1)
    out = state.in_progress_prompt_logprobs_cpu
    columns_RK = _columns(state, scores_RV, first, out.logprobs.shape[1])
    values_RK = scores_RV.gather(-1, columns_RK)
    place = slice(first, first + len(hidden_RE))
    out.logprob_token_ids[place].copy_(columns_RK, non_blocking=True)
    out.logprobs[place].copy_(values_RK, non_blocking=True)
    out.selected_token_ranks[place].copy_((scores_RV >= values_RK[:, :1]).sum(-1), non_blocking=True)


def _speak_as(self: Any, request: str, rows: int) -> None:
    """Let the head add this request's adapter to so many rows; vLLM counts one row a request here."""
    if not self.lora_config:
        return
    batch = self.input_batch
    adapter = int(batch.request_lora_mapping[batch.req_id_to_index[request]])
    wanted = {batch.lora_id_to_lora_request[adapter]} if adapter else set()
    self._set_active_loras((adapter,) * rows, (adapter,) * rows, wanted)


def _columns(state: Any, scores_RV: Any, first: int, width: int) -> Any:
    """Of each row the token that follows, the likeliest ones, those asked for, and the first again to fill up."""
    import torch

    extra = state.sampling_params.extra_args or {}
    asked = dict(extra.get(TARGETS, ()))
    top = extra.get(TOP, width - 1)
    likely = scores_RV.topk(top, -1).indices.tolist() if top else [[]] * len(scores_RV)
    rows = [
        [follows, *likely[place], *asked.get(first + place, ())]
        for place, follows in enumerate(state.prompt_token_ids[first + 1 : first + 1 + len(scores_RV)])
    ]
    filled = [row + row[:1] * (width - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.int64, device=scores_RV.device)


def _give_rows_their_own() -> None:
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for place in (lora_ops, punica_cpu):
        place.bgmv_shrink, place.bgmv_expand, place.bgmv_expand_slice = _shrink, _expand, _expand_slice


def _shrink(inputs_TI: Any, weights_ALI: Any, output_TL: Any, adapters_T: Any, scaling: float = 1.0) -> None:
    output_TL.zero_()
    for adapter, rows in _by_adapter(adapters_T, len(inputs_TI)):
        a_LI = weights_ALI[adapter].flatten(0, -2).to(output_TL.dtype)
        output_TL[rows, : len(a_LI)] = scaling * (inputs_TI[rows].to(output_TL.dtype) @ a_LI.T)


def _expand(
    inputs_TL: Any,
    weights_AOL: Any,
    output_TO: Any,
    adapters_T: Any,
    add_inputs: bool = True,  # noqa: FBT001, FBT002 - as it is called
) -> None:
    _expand_slice(inputs_TL, weights_AOL, output_TO, adapters_T, 0, output_TO.shape[1], add_inputs)


def _expand_slice(
    inputs_TL: Any,
    weights_AOL: Any,
    output_TO: Any,
    adapters_T: Any,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,  # noqa: FBT001, FBT002
) -> None:
    part_TO = output_TO[:, slice_offset : slice_offset + slice_size]
    if not add_inputs:
        part_TO.zero_()
    for adapter, rows in _by_adapter(adapters_T, len(inputs_TL)):
        b_OL = weights_AOL[adapter].flatten(0, -2).to(output_TO.dtype)
        # The adapter and the model may be padded differently.
        common = min(len(b_OL), part_TO.shape[1])
        part_TO[rows, :common] += inputs_TL[rows].to(output_TO.dtype) @ b_OL[:common].T


def _by_adapter(adapters_T: Any, rows: int) -> Iterator[tuple[int, Any]]:
    """Each place of an adapter with its rows; -1 is none."""
    if len(adapters_T) != rows:
        raise RuntimeError(f"{len(adapters_T)} adapters were named for {rows} rows")
    places = adapters_T.unique().tolist()
    for place in places:
        if place >= 0:
            yield place, slice(None) if len(places) == 1 else (adapters_T == place).nonzero()[:, 0]
