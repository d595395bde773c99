"""A client's own loss as a graph of named operations, and the list of those that may stand in it.

The graph is what `torch.fx` traces in the Tinker SDK, as plain data: nothing in it can be executed until a backend
looks each name up in a table of its own. An operation is on the list when it is deterministic, has a derivative or no
need of one, touches nothing but its operands, and gives a result whose size can be told before it is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Argument = Any
"""None, a bool, a number, a text, a list of arguments, or one of {"ref": node}, {"tuple": […]}, {"dict": {…}},
{"slice": [start, stop, step]}, {"ellipsis": true}, {"float": "inf"}, {"dtype": "float32"}, {"device": "cpu"} …"""
Operation = Literal["placeholder", "call_function", "call_method", "output"]


@dataclass(frozen=True, slots=True)
class GraphInput:
    name: str
    """`logprobs`, or an input that every datum brings."""
    rank: int
    """0: a number, 1: (N,), 2: (N, K)."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    op: Operation
    name: str
    target: str
    """The input's name, a name of FUNCTIONS or METHODS, or `output`."""
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument]


@dataclass(frozen=True, slots=True)
class LossGraph:
    name: str
    inputs: tuple[GraphInput, ...]
    """`logprobs` first."""
    nodes: tuple[GraphNode, ...]
    """In order: the placeholders, the calls, the output, which is (loss, metrics by name)."""


_UNARY = """
    abs absolute acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 fix floor
    frac isfinite isinf isnan isneginf isposinf lgamma log log10 log1p log2 logical_not logit nan_to_num neg negative
    positive rad2deg reciprocal relu round rsqrt sigmoid sign signbit sgn sin sinc sinh sqrt square tan tanh trunc
"""
_BINARY = """
    add addcdiv addcmul arctan2 atan2 bitwise_and bitwise_not bitwise_or bitwise_xor clamp clamp_max clamp_min clip
    copysign div divide eq floor_divide fmax fmin fmod ge greater greater_equal gt hypot le lerp less less_equal
    logaddexp logaddexp2 logical_and logical_or logical_xor lt masked_fill maximum minimum mul multiply ne not_equal pow
    remainder sub subtract true_divide where xlogy
"""
_REDUCE = """
    all amax amin aminmax any argmax argmin count_nonzero cummax cummin cumprod cumsum logcumsumexp logsumexp max mean
    median min nanmean nanmedian nansum norm prod std sum var
"""
_SHAPE = """
    broadcast_to cat chunk clone concat concatenate detach diagonal diff flatten flip gather hstack index_add
    index_select masked_select movedim narrow numel permute ravel reshape roll scatter scatter_add select softmax
    log_softmax sort argsort split squeeze stack swapaxes t take_along_dim tensor_split tile topk transpose tril triu
    unbind unflatten unsqueeze vstack
"""
_OF_SEVERAL = "cat concat concatenate hstack stack vstack"
"""Functions that are no methods."""
_MATRIX = "bmm dot inner matmul mm mv outer "
_MAKE = "arange full full_like ones ones_like zeros zeros_like "
_METHODS_ONLY = """
    bfloat16 bool contiguous cpu double dim expand expand_as float half int long ndimension new_full new_ones new_zeros
    repeat reshape_as size to type type_as unfold view view_as
"""
_SPECIAL = """
    entr erf erfc exp2 expit expm1 i0 log1p log_ndtr log_softmax logit logsumexp ndtr psi round sinc softmax xlog1py
    xlogy
"""
_NETWORK = """
    binary_cross_entropy binary_cross_entropy_with_logits elu gelu gaussian_nll_loss hardtanh
    hinge_embedding_loss huber_loss kl_div l1_loss leaky_relu log_softmax logsigmoid margin_ranking_loss mse_loss
    normalize pad poisson_nll_loss relu relu6 selu sigmoid silu smooth_l1_loss softmax softmin softplus softsign tanh
"""
_OPERATOR = "abs add and_ eq floordiv ge getitem gt inv invert le lt matmul mod mul ne neg or_ pos pow sub truediv xor"
_MATH = """
    acos asin atan atan2 ceil cos cosh erf erfc exp expm1 fabs floor isfinite isinf isnan lgamma log log10 log1p log2
    pow sin sinh sqrt tan tanh trunc
"""


def _under(prefix: str, names: str) -> set[str]:
    return {prefix + name for name in names.split()}


_TENSOR = _UNARY + _BINARY + _REDUCE + _SHAPE + _MATRIX
FUNCTIONS = frozenset(
    {"getattr", "torch.cosine_similarity", "torch.linalg.norm", "torch.linalg.vector_norm"}
    | _under("torch.", _TENSOR + _MAKE)
    | _under("torch.special.", _SPECIAL)
    | _under("torch.nn.functional.", _NETWORK)
    | _under("operator.", _OPERATOR)
    | _under("math.", _MATH)
)
METHODS = frozenset(_under("", _TENSOR + _METHODS_ONLY) - _under("", _OF_SEVERAL))
POINTWISE = frozenset(
    _under("", _UNARY + _BINARY + _REDUCE)
    | _under("torch.", _UNARY + _BINARY + _REDUCE)
    | _under("math.", _MATH)
    | (_under("operator.", _OPERATOR) - {"operator.getitem", "operator.matmul"})
)
"""Of those, the ones whose result is no larger than their operands broadcast together."""
ATTRIBUTES = frozenset({"T", "device", "dtype", "indices", "mT", "ndim", "shape", "values"})
"""What `getattr` may read of a tensor, or of what sort, topk, max and the like return."""
_KEYWORDS = """
    _stacklevel alpha approximate axis beta chunks condition correction delta descending device diagonal dim dim0
    dim1 dims dtype end end_dim eps exponent fill_value full index indices inplace input input1 input2 k keepdim
    largest layout log_input log_target margin mask max max_val memory_format min min_val mode nan negative_slope
    neginf non_blocking offset ord other p pad pos_weight posinf reduce reduction repeats rounding_mode sections
    shape shifts size size_average sizes sorted source split_size split_size_or_sections src stable start start_dim
    step target tensor tensor1 tensor2 tensors threshold unbiased value var vec2 weight x x1 x2 y
"""
KEYWORDS = frozenset(_under("", _KEYWORDS))
"""Of the keywords of those operations, all that neither write somewhere nor draw at random."""
CONSTANTS: Mapping[str, frozenset[str]] = {
    "dtype": frozenset(_under("", "float16 bfloat16 float32 float64 int16 int32 int64 bool")),
    "layout": frozenset(("strided",)),
    "memory_format": frozenset(("contiguous_format", "preserve_format")),
}
"""The names of torch's own constants that may stand as arguments."""
