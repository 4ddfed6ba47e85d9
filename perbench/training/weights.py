"""Saves and loads a checkpoint's content, trained weights and AdamW's moments, for any number of
processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.training.shard import part, whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Write = Callable[[Path], None]


class Weights:
    """The trainable weights of `network` with their optimizer. If they are sharded, every process must call
    `saving` and `exporting`; only the main process calls the functions they return, which write the files."""

    def __init__(self, network: Any, optimizer: torch.optim.Optimizer, *, main: bool) -> None:
        self._network, self._optimizer, self._main = network, optimizer, main

    def saving(self) -> Write:
        import torch
        from safetensors.torch import save_file

        weights = self._gather({n: p for n, p in self._network.named_parameters() if p.requires_grad})
        optimizer = self._optimizer.state_dict()
        optimizer["state"] = {i: self._gather(moments) for i, moments in optimizer["state"].items()}

        def write(path: Path) -> None:
            save_file(weights, path / "weights.safetensors")
            torch.save(optimizer, path / "optimizer.pt")

        return write

    def load(self, path: Path) -> None:
        """Load what `saving` wrote."""
        import torch
        from safetensors.torch import load_file

        stored = load_file(path / "weights.safetensors")
        with torch.no_grad():
            for name, weight in self._network.named_parameters():
                if weight.requires_grad:
                    weight.copy_(part(stored[name], weight))
        optimizer = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True, mmap=True)
        order = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        for index, moments in optimizer["state"].items():
            for name, value in moments.items():
                moments[name] = part(value, order[index]) if value.ndim else value
        self._optimizer.load_state_dict(optimizer)

    def exporting(self, method: str) -> Write:
        """The trained model: a peft adapter (method "lora"), or the whole model in the HF format."""
        named = dict(self._network.named_parameters())
        if method == "lora":
            named = {name: weight for name, weight in named.items() if weight.requires_grad}
            options = {"save_embedding_layers": False}
        else:
            repeated = dict(self._network.named_parameters(remove_duplicate=False))
            state = self._network.state_dict()
            named |= {name: value for name, value in state.items() if name not in repeated}
            options = {}
        weights = self._gather(named)

        def write(path: Path) -> None:
            self._network.save_pretrained(path, state_dict=weights, **options)

        return write

    def _gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        gathered = {}
        for name, tensor in tensors.items():
            full = whole(tensor.detach())
            if self._main:  # moved to the host one by one, as all may not fit on the device
                gathered[name] = full.cpu().contiguous()
        return gathered
