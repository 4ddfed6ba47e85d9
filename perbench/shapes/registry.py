"""What a task may name besides plugins: data sources and decodings, with the keys that each reads."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import AfterValidator

from perbench.errors import suggest

SOURCES = {
    "python": ("requires", "train_split", "test_split", "overlap"),
    "hub": ("config", "shared", "revision", "data_dir", "train_split", "test_split", "overlap"),
    "files": ("train_split", "test_split", "split", "overlap"),
    "prepared": ("config", "shared", "data_dir", "train_split", "test_split", "overlap"),
    "lm_eval": (),
}
"""Key of `data` that names where rows come from -> the other keys of `data` that are read with it."""

DECODINGS = {"ordinary": (), "context_steering": ("decoding.lam",)}
"""Method -> the keys that it alone reads."""


def one_of(names: Iterable[str]) -> AfterValidator:
    """Of a text: that it is one of `names`."""
    known = list(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"got {value!r} (a string).{suggest(value, known)}")
        return value

    return AfterValidator(check)
