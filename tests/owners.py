"""A task's protocol, called as its code was called before protocols were plugins."""

from __future__ import annotations

from typing import Any

from perbench.specs.compose import owner_of


def run(task: Any, dataset: Any, engines: Any, store: Any, *, seed: int, tick: Any) -> dict[str, int]:
    owner = owner_of(task.spec)
    return owner.run(dataset, engines, store, planned=owner.sample_ids(dataset), seed=seed, tick=tick)  # type: ignore[no-any-return]


def score(task: Any, samples: Any) -> Any:
    return owner_of(task.spec).score(samples)


def run_identifier(
    task: Any, dataset: Any, identifier: Any, engine: Any, store: Any, *, dev: Any = None, tick: Any
) -> dict[str, int]:
    owner, ids = owner_of(task.spec), owner_of(task.spec).sample_ids(dataset, dev)
    return owner.identify(dataset, identifier, engine, store, planned=ids, dev=dev, tick=tick)  # type: ignore[no-any-return]
