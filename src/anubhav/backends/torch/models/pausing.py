"""Breaks in a long pass, forward and backward, in which the engine's thread can decode a step for those who wait."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Pause = Callable[[], None]
"""Called between halves of layers and between chunks of the head, never with gradients on; raising ends the pass."""


class _Break(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TE: Tensor, pause: Pause) -> Tensor:
        ctx.pause = pause
        pause()
        return x_TE.view_as(x_TE)

    @staticmethod
    def backward(ctx: Any, dy_TE: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            ctx.pause()
        return dy_TE, None


def take_break(x_TE: Tensor, pause: Pause | None) -> Tensor:
    """The tensor itself, after a pause; its gradient comes after another one."""
    return x_TE if pause is None else _Break.apply(x_TE, pause)  # pyright: ignore[reportReturnType]
