"""Run a task of lm-evaluation-harness on the model of a cell; one sample per document.

lm-eval builds the prompts, calls the model and computes each document's metrics; perbench stores them,
resumes, and aggregates over documents with intervals (`scores`).
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.resume import Batch, Sample
from perbench.contracts.run import Engines, chunks
from perbench.errors import PerbenchError
from perbench.prompts.hflm import served
from perbench.seeds import derive_seed

from .catalogue import leaves, lm_eval_version, manager, manager_with, metric_name
from .samples import DocumentSample
from .values import stored
from .warned import listening

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset

    from .section import LmEvalSpec

CHUNK = 128
"""Documents evaluated together; a killed run repeats one chunk."""
BATCH = 8
"""Sequences per forward pass of lm-eval."""
RANDOM_SEED, OTHER_SEED = 0, 1234
"""lm-eval's defaults: of `random`; of numpy, torch and the draw of few-shot examples."""


@dataclass
class _Loaded:
    """Tasks with their documents, lm-eval's warnings, and the states of random generators after loading."""

    tasks: dict[str, Any]
    heard: list[str] = field(default_factory=list)
    states: Any = None

    def documents(self, leaf: str, limit: int | None) -> range:
        # `eval_docs` processes all documents anew at each call.
        held = getattr(self.tasks[leaf], "task_docs", None)
        return range(len(held if held is not None else self.tasks[leaf].eval_docs))[:limit]


_loaded: dict[tuple[str, str], _Loaded] = {}
"""Tasks loaded by `sample_ids` for the next `batches`: loading the documents of a group takes minutes."""


def sample_ids(wanted: LmEvalSpec, dataset: Dataset, folder: Callable[[], Path] | None = None) -> list[str]:
    """The ids of a finished cell's samples; keeps the loaded documents for the next `batches`. `folder` is
    the model's."""
    name, limit = dataset.source["lm_eval"], dataset.source["limit"]
    found = _loaded[name, wanted.model_dump_json()] = _load(name, wanted, folder)
    return [f"{leaf}/{number}" for leaf in found.tasks for number in found.documents(leaf, limit)]


def batches(wanted: LmEvalSpec, dataset: Dataset, engines: Engines, seed: int) -> list[Batch]:
    """Batches of documents. `seed` is that of sampled answers.

    Raises:
        PerbenchError: the task or its documents do not load, or the model is not in this process.
    """
    name, limit = dataset.source["lm_eval"], dataset.source["limit"]
    found = _loaded.pop((name, wanted.model_dump_json()), None) or _load(name, wanted)
    with listening(found.heard), _random(found.states):
        model = served(engines.subject, BATCH)
        requests = {leaf: _requests(model, task, limit, wanted) for leaf, task in found.tasks.items()}

    def make(leaf: str, ids: Sequence[int], stored: Mapping[str, Sample]) -> Sequence[Sample]:
        warned = list(found.heard)
        with _seeded(derive_seed("lm_eval", seed, leaf, ids[0])), listening(warned):
            samples = _evaluate(model, leaf, found.tasks[leaf], {i: requests[leaf][i] for i in ids})
        return [DocumentSample(**{**sample, "warnings": warned}) for sample in samples] if warned else samples

    return [
        Batch([f"{leaf}/{number}" for number in ids], partial(make, leaf, ids))
        for leaf in sorted(found.tasks)
        for ids in chunks(found.documents(leaf, limit), CHUNK)
    ]


def _load(name: str, wanted: LmEvalSpec, folder: Callable[[], Path] | None = None) -> _Loaded:
    """The tasks of a name (several for a group), with their documents."""
    loaded = _Loaded({})
    made = any(leaf.get("custom_dataset") for leaf in leaves(name))
    given = {**(wanted.metadata or {}), **(_of_model(name, folder()) if made and folder is not None else {})}
    with listening(loaded.heard), _random():
        found = manager_with(name, given) if made else manager(name)
        try:
            loaded.tasks = found.load([name])["tasks"]
        except Exception as error:  # the dataset client raises its own and its HTTP library's types
            raise PerbenchError(
                f"lm-eval's task {name} does not load: {type(error).__name__}: {error}; its documents come "
                "from a dataset hub: run it once online, or put a task with a local dataset into lm_eval/ of "
                "a plugin root"
            ) from error
        loaded.states = _states()
    return loaded


def _of_model(name: str, folder: Path) -> dict[str, str]:
    """What lm-eval tells functions that make documents of the model: they load its tokenizer, and may trust
    its code.

    Raises:
        PerbenchError: it has code.
    """
    code = [path.name for path in sorted(folder.glob("*.py"))]
    for config in ("config.json", "tokenizer_config.json"):
        path = folder / config
        if path.is_file() and "auto_map" in json.loads(path.read_text("utf-8")):
            code.append(f"auto_map in {config}")
    if code:
        raise PerbenchError(
            f"lm-eval's task {name} makes its documents with the model's tokenizer and may run the code that "
            f"the model brings ({code[0]}), which perbench does not; leave it out for this model"
        )
    return {"pretrained": str(folder)}


def _requests(model: Any, task: Any, limit: int | None, wanted: LmEvalSpec) -> dict[int, list[Any]]:
    """The requests of each document, by its number.

    They are built for all documents at once: few-shot examples are drawn document after document.
    """
    # As lm_eval.evaluator.simple_evaluate does.
    own = task.get_config("num_fewshot")
    if wanted.num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=wanted.num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=OTHER_SEED)
    task.build_all_requests(
        limit=limit,
        apply_chat_template=wanted.chat_template,
        fewshot_as_multiturn=wanted.chat_template,
        chat_template=model.apply_chat_template if wanted.chat_template else None,
        tokenizer_name=model.tokenizer_name if wanted.chat_template else "",
    )
    found: dict[int, list[Any]] = {}
    for one in task.instances:
        found.setdefault(one.doc_id, []).append(one)
    return {number: sorted(asked, key=lambda one: int(one.idx)) for number, asked in found.items()}


def _evaluate(model: Any, leaf: str, task: Any, requests: Mapping[int, list[Any]]) -> list[DocumentSample]:
    """As `lm_eval.evaluator.evaluate`, for some of a task's documents."""
    asked: dict[str, list[Any]] = {}
    for request in (one for own in requests.values() for one in own):
        asked.setdefault(request.request_type, []).extend([request] * request.repeats)
    for kind, repeated in asked.items():
        for response, request in zip(getattr(model, kind)(repeated), repeated, strict=True):
            request.resps.append(response)
    task._instances = [one for own in requests.values() for one in own]
    task.apply_filters()
    samples: dict[int, DocumentSample] = {}
    for filtered in task.instances[0].filtered_resps:
        for number, own in requests.items():
            answers = [one.filtered_resps[filtered] for one in own]
            known = samples.setdefault(number, _sample(leaf, number, task, own[0], answers))
            for metric, value in task.process_results(own[0].doc, answers).items():
                stored(known, metric_name(metric, filtered), task.aggregation().get(metric), value)
    return list(samples.values())


def _sample(leaf: str, number: int, task: Any, request: Any, answers: Sequence[Any]) -> DocumentSample:
    name, answer = f"{leaf}/{number}", answers[0] if answers else ""
    return DocumentSample(
        id=name,
        user=name,
        task=leaf,
        lm_eval=lm_eval_version(),
        question=str(request.args[0]),
        reference=str(task.doc_to_target(request.doc)),
        response=answer if isinstance(answer, str) else str(answers),
        metrics={},
        corpus={},
        unscored={},
    )


# ---------------------------------------------------------------- random generators


def _states() -> Any:
    import numpy as np
    import torch

    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: Any) -> None:
    import numpy as np
    import torch

    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@contextlib.contextmanager
def _random(states: Any = None) -> Iterator[None]:
    """Random generators as lm-eval seeds them before it loads a task, or in `states`; restored afterwards."""
    import numpy as np
    import torch

    before = _states()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        if states is not None:
            _restore(states)
        else:
            random.seed(RANDOM_SEED)
            np.random.seed(OTHER_SEED)
            torch.manual_seed(OTHER_SEED)
        try:
            yield
        finally:
            _restore(before)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random generators of sampled answers; restored afterwards."""
    import numpy as np
    import torch

    with _random():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
