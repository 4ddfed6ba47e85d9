"""Linear layers of a served model with their weights laid out for oneDNN, on a CPU.

torch lays the weights out again for each product. With the few rows of a decoding step that takes longer
than the product: an output head of 49k tokens by 576 takes 24 ms for 16 rows in float32, 11 ms if laid out
once, and the other layers take 0.7 of their time. Sums are rounded in another order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MOST = 4 * 2**30
"""Bytes of weights up to which a model is packed: the copies need as much memory again."""


class Packed(nn.Linear):
    """A layer whose weights must not change until it is unpacked. With gradients, under autocast and in
    copies it computes as before."""

    packed: Tensor
    state: tuple[int, int]
    """Of the weights when they were packed."""

    def forward(self, input: Tensor) -> Tensor:
        held = self.__dict__.get("packed")
        if (
            held is None
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or input.dtype != held.dtype
            or self.state != _state(self.weight)
            or not input.numel()
        ):
            return super().forward(input)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, held, self.bias, "none", [], "")
        return product

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("packed", "state")}


def pack(model: nn.Module) -> None:
    """Pack the linear layers of a model in place, if it is on a CPU that gains from it and is not too large.
    Until `unpack`, nothing may change its weights."""
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and _gains(layer.weight)]
    if sum(layer.weight.nbytes for layer in layers) > MOST:
        return
    for layer in layers:
        packed: Any = layer
        packed.__dict__["packed"] = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        packed.state = _state(layer.weight)
        packed.__class__ = Packed


def unpack(model: nn.Module) -> None:
    """Undo `pack`, before the weights change."""
    for layer in model.modules():
        if isinstance(layer, Packed):
            plain: Any = layer
            for name in ("packed", "state"):
                plain.__dict__.pop(name, None)
            plain.__class__ = nn.Linear


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), weight._version


def _gains(weight: Tensor) -> bool:
    onednn: Any = torch.backends.mkldnn
    usable = onednn.is_available() and getattr(onednn, "enabled", True)
    plain = type(weight) in (Tensor, nn.Parameter) and not weight.is_inference()
    if weight.device.type != "cpu" or not usable or not plain:
        return False
    operators: Any = torch.ops.mkldnn
    if not (hasattr(operators, "_linear_pointwise") and hasattr(operators, "_reorder_linear_weight")):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
