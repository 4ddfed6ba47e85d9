"""Derived seeds."""

from __future__ import annotations

import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as some

from perbench.disk.digests import canonical_digest
from perbench.seeds import derive_seed, derive_seeds

PARTS = some.integers() | some.text(some.characters(), max_size=6)


def test_a_seed_is_the_head_of_a_digest_over_its_parts() -> None:
    digest = hashlib.sha256(b'["generation",4,0]').hexdigest()
    assert derive_seed("generation", 4, 0) == int(digest[:15], 16)


def test_parts_are_told_apart() -> None:
    parts = [("a", 1, 2), ("a", 12), ("a", "12"), ("a1", 2), ("a", 2, 1)]
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_torch_takes_every_seed() -> None:
    assert all(torch.Generator().manual_seed(derive_seed(n)) for n in range(100))


@given(some.lists(PARTS, max_size=3), some.lists(PARTS, max_size=4))
def test_many_seeds_are_those_of_each(first: list[int | str], last: list[int | str]) -> None:
    digests = [canonical_digest([*first, one]) for one in last]
    assert derive_seeds(first, last) == [int(digest[:15], 16) for digest in digests]
    assert derive_seeds(first, last) == [derive_seed(*first, one) for one in last]
