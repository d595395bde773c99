"""What adapters take: LoRA on a mixture in its four layouts, counted for the whole model and for one rank."""

from dataclasses import dataclass
from typing import Literal

from anubhav.cluster.layout import Layout
from anubhav.cluster.planning.census import Census, Weight
from anubhav.errors import BadInput

ExpertLayout = Literal["tied", "per-expert", "shared-outer", "rank-normalised"]
Targets = Literal["tinker", "all-linear"]

_TINKER_MLA = ("q_b_proj", "kv_b_proj")
"""The matrices of latent attention that Tinker, and so our trainer, leaves alone."""


@dataclass(frozen=True, slots=True)
class Adapter:
    rank: int = 32
    experts: ExpertLayout = "shared-outer"
    """One for all experts of a rank; one for each; one for each with the hidden side in common; one for each of
    rank / chosen experts."""
    targets: Targets = "tinker"
    """What Tinker's `LoraConfig` adapts by default: attention, MLPs and the unembedding. Or every linear layer of the
    blocks, as PEFT's `all-linear`: without the unembedding, with all of latent attention."""

    def adapts(self, weight: Weight) -> bool:
        if weight.role == "unembedding":
            return self.targets == "tinker"
        if weight.role == "attention" and self.targets == "tinker" and weight.name.split(".")[-2] in _TINKER_MLA:
            return False
        return weight.role == "expert" or (weight.linear and weight.role in ("attention", "dense", "shared"))

    def expert_rank(self, census: Census) -> int:
        """Raises BadInput where it is not a whole number."""
        if self.experts != "rank-normalised" or census.mixture is None:
            return self.rank
        chosen = census.mixture.chosen
        if self.rank % chosen:
            below = self.rank - self.rank % chosen
            near = f"{below} or {below + chosen}" if below else str(chosen)
            raise BadInput(
                f"Rank {self.rank} over {chosen} experts of a token is not a whole number",
                hint=f"With --experts rank-normalised the rank is a multiple of {chosen}: {near}.",
            )
        return self.rank // chosen


def adapter_parameters(census: Census, adapter: Adapter) -> int:
    """Of the whole model; a tied unembedding, which is not stored, has a pair as well."""
    whole = Layout()
    counted = sum(values_on_rank(census, adapter, weight, whole) * times for weight, times in census.weights())
    return counted + unstored_values(census, adapter)


def unstored_values(census: Census, adapter: Adapter) -> int:
    """Of the factors beside a tied unembedding."""
    return adapter.rank * (census.hidden + census.vocabulary) if census.tied and adapter.targets == "tinker" else 0


def values_on_rank(census: Census, adapter: Adapter, weight: Weight, layout: Layout) -> int:
    """Values of the factors beside this weight on one rank; each rank of the data has all of them."""
    if not adapter.adapts(weight):
        return 0
    if weight.role == "expert":
        return _values_of_experts(census, adapter, weight, layout)
    outputs, inputs = weight.shape
    if weight.role == "unembedding":
        return adapter.rank * (outputs + inputs)  # its output is gathered, and its factors are whole
    if weight.sliced == 0:
        outputs = _share(outputs, layout.tp)
    elif weight.sliced == 1:
        inputs = _share(inputs, layout.tp)
    return adapter.rank * (outputs + inputs)


def _values_of_experts(census: Census, adapter: Adapter, weight: Weight, layout: Layout) -> int:
    experts, outputs, inputs = weight.shape
    matrices = 1 if weight.name.endswith("down_proj") else 2
    hidden = outputs if matrices == 1 else inputs
    inner = inputs if matrices == 1 else outputs // 2
    here = experts // layout.ep
    if layout.ep == 1 and weight.sliced is not None:
        inner = _share(inner, layout.tp)
    rank = adapter.expert_rank(census)
    outer_copies = 1 if adapter.experts in ("tied", "shared-outer") else here
    inner_copies = 1 if adapter.experts == "tied" else here
    return matrices * rank * (outer_copies * hidden + inner_copies * inner)


def _share(size: int, ranks: int) -> int:
    """The largest share; the last rank's may be smaller."""
    return -(-size // ranks)
