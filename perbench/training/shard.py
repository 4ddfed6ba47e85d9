"""Distributes weights and gradients over processes: replicated (ddp) or sharded (fsdp)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from perbench.processes import Group

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BUCKET = 2**24
"""Gradient elements summed in one message."""


def shard_weights(module: nn.Module, device: torch.device, compute: torch.dtype | None) -> None:
    """Shard every weight of `module` over all processes (FSDP2): its decoder layers one by one, then the
    rest. Weights move from the CPU to `device` by layer, so a whole model need not fit there.

    Args:
        compute: dtype of gathered weights; None keeps theirs.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    # Gradients are summed in the weights' precision.
    policy = MixedPrecisionPolicy(
        param_dtype=compute, reduce_dtype=torch.float32 if compute is not None else None
    )
    for layer in module.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor, gathered if sharded, which all processes must then call."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of `tensor`, sharded like `like`; no communication."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor):
        return tensor
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def add_gradients(weights: Sequence[Tensor], group: Group) -> None:
    """Sum the gradients of replicated weights over all processes, in place. A process without examples adds
    zero; a weight without gradient on all processes keeps none."""
    if group.world == 1:
        return
    import torch
    import torch.distributed as dist

    present = group.gather(bytes(weight.grad is not None for weight in weights))
    met = [weight for weight, flags in zip(weights, zip(*present, strict=True), strict=True) if any(flags)]
    for weight in met:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    for bucket in _buckets(weight.grad for weight in met):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, total in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


def _buckets(tensors: Iterable[Any]) -> Iterator[list[Any]]:
    bucket: list[Any] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def shard_examples(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indices in `count` shards, one per process: longest first, each to the shard with the fewest tokens;
    deterministic."""
    shards: list[list[int]] = [[] for _ in range(count)]
    sizes = [0] * count
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        smallest = sizes.index(min(sizes))
        shards[smallest].append(index)
        sizes[smallest] += lengths[index]
    return shards
