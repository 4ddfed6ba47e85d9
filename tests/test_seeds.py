"""Derived seeds."""

from __future__ import annotations

import hashlib

import torch

from perbench.seeds import derive_seed


def test_a_seed_is_the_head_of_a_digest_over_its_parts() -> None:
    digest = hashlib.sha256(b'["generation",4,0]').hexdigest()
    assert derive_seed("generation", 4, 0) == int(digest[:15], 16)


def test_parts_are_told_apart() -> None:
    parts = [("a", 1, 2), ("a", 12), ("a", "12"), ("a1", 2), ("a", 2, 1)]
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_torch_takes_every_seed() -> None:
    assert all(torch.Generator().manual_seed(derive_seed(n)) for n in range(100))
