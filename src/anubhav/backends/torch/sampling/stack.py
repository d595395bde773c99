"""All layers of a plain decoder in one native call, for a few rows that decode: what a single chat waits for.

The plain path is `Model.hidden`; this computes the same, and only where every part of it has a kernel: a gated MLP,
usual attention, weights that are bfloat16 in the checkpoint.
Axes: T rows of the batch, E hidden.
"""

import ctypes
from typing import Final

from torch import Tensor

from anubhav.backends.torch.kernels import native
from anubhav.backends.torch.layers.adapters import Site
from anubhav.backends.torch.layers.elementwise import rms_norm, swiglu
from anubhav.backends.torch.layers.frozen import FEW
from anubhav.backends.torch.layers.rotary import Rotary
from anubhav.backends.torch.models.attention import Attention
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.dense import Dense
from anubhav.backends.torch.models.model import Layer, Model
from anubhav.backends.torch.sampling.kv import KvCache
from anubhav.backends.torch.sampling.speakers import Speakers

_GROUPS: Final = ("qkv", "o", "gate_up", "down")
_LANES: Final = 16
_MOST_ROTARIES: Final = 2


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("attention_norm", "qkv", "q_norm", "k_norm", "o", "mlp_norm")),
        *((name, ctypes.c_void_p) for name in ("gate_up", "down", "qkv_bias", "k_pages", "v_pages")),
        *((name, ctypes.c_int64) for name in ("window", "turning")),
    )


class _Stack(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("count", "hidden", "heads", "groups", "d", "inner", "type")),
        ("eps", ctypes.c_float),
    )


class _Site(ctypes.Structure):
    _fields_ = (("places", ctypes.c_void_p), ("offsets", ctypes.c_void_p), ("modules", ctypes.c_int64))


class _Batch(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_void_p),
        ("cosine", ctypes.c_void_p * _MOST_ROTARIES),
        ("sine", ctypes.c_void_p * _MOST_ROTARIES),
        *((name, ctypes.c_void_p) for name in ("table", "lengths", "adapted", "ends", "ranks", "scales", "sites")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "segments", "threads")),
    )


class Stack:
    """Made once for a model and a cache, whose addresses it holds."""

    def __init__(self, model: Model, cache: KvCache, library: ctypes.CDLL) -> None:
        config = model.config
        self._model, self._cache, self._library = model, cache, library
        self._rotaries = list(dict.fromkeys(config.rotary_of(layer) for layer in range(config.layers)))
        rows = [_laid(layer, cache, self._rotaries, model) for layer in model.layers]
        self._layers = (_Layer * config.layers)(*rows)
        shape = (config.hidden, config.heads, config.kv_heads, config.head_dim, config.intermediate)
        self._about = _Stack(
            ctypes.addressof(self._layers), config.layers, *shape, native.FLOATS[model.dtype], config.norm_eps
        )
        self._sites: tuple[Speakers, ctypes.Array[_Site]] | None = None

    def takes(self, rows: int, crew: Speakers) -> bool:
        """Whether it can do these rows, which must all be decoding."""
        return rows <= FEW and crew.natively

    def hidden(self, tokens_T: Tensor, positions_T: Tensor, crew: Speakers) -> Tensor:
        """The final normalised hidden states, (T, E), of rows that the cache was told of."""
        x_TE = self._model.embed(tokens_T).contiguous()
        angles = [rotary.angles(positions_T) for rotary in self._rotaries]
        table_BN, lengths_B = self._cache.singles
        batch = _Batch(x=x_TE.data_ptr(), table=table_BN.data_ptr(), lengths=lengths_B.data_ptr())
        for place, (cosine, sine) in enumerate(angles):
            batch.cosine[place], batch.sine[place] = cosine.data_ptr(), sine.data_ptr()
        batch.rows, batch.columns, batch.threads = len(x_TE), table_BN.shape[1], native.threads()
        if crew.adapters:
            adapters = crew.adapters
            batch.sites, batch.segments = ctypes.addressof(self._sites_of(crew)), adapters.segments
            batch.adapted, batch.ends = adapters.rows.data_ptr(), adapters.ends.data_ptr()
            batch.ranks, batch.scales = adapters.ranks.data_ptr(), adapters.scales.data_ptr()
        if self._library.decode_stack(ctypes.byref(self._about), ctypes.byref(batch)):
            raise MemoryError("No memory to decode")
        return rms_norm(x_TE, self._model.norm_E, self._model.config.norm_eps)

    def _sites_of(self, crew: Speakers) -> "ctypes.Array[_Site]":
        if self._sites is None or self._sites[0] is not crew:
            sites = [(layer, group) for layer in range(len(self._layers)) for group in _GROUPS]
            self._sites = crew, (_Site * len(sites))(*(_site(crew, site) for site in sites))
        return self._sites[1]


def _site(crew: Speakers, site: Site) -> _Site:
    table = crew.table(site)
    return _Site(table[0].data_ptr(), table[1].data_ptr(), len(table[1]) - 1) if table else _Site()


def find_stack(model: Decoder, cache: KvCache) -> Stack | None:
    """None where some part of the model has no kernel, or the machine has none."""
    library = native.library()
    if library is None or not isinstance(model, Model) or not cache.natively:
        return None
    config = model.config
    rotaries = {config.rotary_of(layer) for layer in range(config.layers)}
    widths = (config.hidden, config.q_width, config.intermediate, config.head_dim // 2 * 2)
    plain = all(map(_is_plain, model.layers)) and len(rotaries) <= _MOST_ROTARIES
    if not plain or any(width % _LANES for width in widths) or config.head_dim % (2 * _LANES):
        return None
    return Stack(model, cache, library)


def _is_plain(layer: Layer) -> bool:
    attention, mlp = layer.attention, layer.mlp
    if not isinstance(attention, Attention) or not isinstance(mlp, Dense) or mlp.gated is not swiglu:
        return False
    linears = (attention.qkv, attention.o, mlp.gate_up, mlp.down)
    return layer.attention_out_norm_E is None and all(one.read_once is not None for one in linears)


def _laid(layer: Layer, cache: KvCache, rotaries: list[Rotary], model: Model) -> _Layer:
    attention, mlp = layer.attention, layer.mlp
    assert isinstance(attention, Attention)
    assert isinstance(mlp, Dense)
    number = attention.layer
    k_pages, v_pages = cache.addresses[number]
    return _Layer(
        attention_norm=native.at(layer.attention_norm_E),
        qkv=native.at(attention.qkv.rows_OI),
        q_norm=native.at(attention.q_norm_D),
        k_norm=native.at(attention.k_norm_D),
        o=native.at(attention.o.rows_OI),
        mlp_norm=native.at(layer.mlp_norm_E),
        gate_up=native.at(mlp.gate_up.rows_OI),
        down=native.at(mlp.down.rows_OI),
        qkv_bias=native.at(attention.qkv.bias_float_O),
        k_pages=k_pages,
        v_pages=v_pages,
        window=model.config.windows[number] or 0,
        turning=rotaries.index(model.config.rotary_of(number)),
    )
