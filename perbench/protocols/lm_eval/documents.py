"""Run a task of lm-evaluation-harness on the model of a cell; one sample per document.

lm-eval builds the prompts, calls the model and computes each document's metrics; perbench stores them,
resumes, and averages over documents with intervals. Metrics that lm-eval does not average over documents
(perplexity, corpus F1) are left out and listed in a note; so are lm-eval's warnings.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from perbench.contracts.metric import mean_metric
from perbench.contracts.resume import Batch, Sample
from perbench.contracts.run import Engines, Scored, chunks
from perbench.errors import PerbenchError
from perbench.lm.finite import Finite, check_finite
from perbench.prompts.chat import folded, has_system_role, opening
from perbench.seeds import derive_seed
from perbench.store.record import Scores

from .catalogue import lm_eval_version, manager, metric_name
from .samples import DocumentSample
from .warned import listening, warning_notes

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset
    from perbench.contracts.engine import Engine

    from .section import LmEvalSpec

CHUNK = 128
"""Documents evaluated together; a killed run repeats one chunk. Each draws its own few-shot examples."""
BATCH = 8
"""Sequences per forward pass of lm-eval."""
_loaded: dict[str, tuple[dict[str, Any], list[str]]] = {}
"""Tasks loaded by `sample_ids` for the next `batches`: loading the documents of a group takes minutes."""


def sample_ids(dataset: Dataset) -> list[str]:
    """The ids of a finished cell's samples; keeps the loaded documents for the next `batches`."""
    name, limit = dataset.source["lm_eval"], dataset.source["limit"]
    found, _ = _loaded[name] = _load_heard(name)
    return [f"{leaf}/{number}" for leaf in found for number in range(len(found[leaf].eval_docs))[:limit]]


def batches(wanted: LmEvalSpec, dataset: Dataset, engines: Engines, seed: int) -> list[Batch]:
    """Batches of documents.

    Raises:
        PerbenchError: the task or its documents do not load, or the model is not in this process.
    """
    name, limit = dataset.source["lm_eval"], dataset.source["limit"]
    found, heard = _loaded.pop(name) if name in _loaded else _load_heard(name)
    with listening(heard):
        model = _model(engines.subject)

    def make(leaf: str, ids: Sequence[int], stored: Mapping[str, Sample]) -> Sequence[Sample]:
        warned = list(heard)
        with _seeded(derive_seed("lm_eval", seed, leaf, ids[0])), listening(warned):
            samples = _evaluate(model, leaf, found[leaf], list(ids), wanted)
        return [DocumentSample(**{**sample, "warnings": warned}) for sample in samples] if warned else samples

    return [
        Batch([f"{leaf}/{number}" for number in ids], partial(make, leaf, ids))
        for leaf in sorted(found)
        for ids in chunks(range(len(found[leaf].eval_docs))[:limit], CHUNK)
    ]


def _model(engine: Engine) -> Any:
    """lm-eval's view of the served model, adapter included."""
    torch_model = getattr(engine, "model", None)
    if torch_model is None:
        raise PerbenchError(
            f"lm_eval targets need a model in this process, but engine {engine.name} has none; leave them "
            "out of this matrix, or evaluate the model with the transformers engine"
        )
    huggingface: Any = importlib.import_module("lm_eval.models.huggingface")
    import torch
    from transformers import LogitsProcessorList

    class Model(huggingface.HFLM):  # type: ignore[misc]
        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            """Without a system role in the template, HFLM drops the system turn: the task's description."""
            first = chat_history[0] if chat_history else {}
            if first.get("role") == "system" and not has_system_role(self.tokenizer):
                turn, *others = chat_history[1:] or [{"role": "user", "content": ""}]
                chat_history = [{**turn, "content": folded(first["content"], turn["content"])}, *others]
            text: str = super().apply_chat_template(chat_history, add_generation_prompt)
            return text + opening(self.tokenizer) if add_generation_prompt else text

        def _model_call(self, *args: Any, **options: Any) -> Any:
            logits = super()._model_call(*args, **options)
            check_finite(logits.amax(-1), "logits")
            return logits

        def _model_generate(self, *args: Any, **options: Any) -> Any:
            return super()._model_generate(*args, **options, logits_processor=LogitsProcessorList([Finite()]))

    # lm-eval sets a pad token where there is none.
    tokenizer = copy.deepcopy(engine.tokenizer)
    if (tokenizer.pad_token_id or 0) >= torch_model.get_input_embeddings().num_embeddings:
        tokenizer.pad_token_id = 0  # masked, so any valid id will do
    # HFLM's softmax defaults to the weights' dtype; in bfloat16 close choices would tie.
    return Model(
        pretrained=torch_model,
        backend="causal",
        tokenizer=tokenizer,
        batch_size=BATCH,
        softmax_dtype=torch.float32,
        enable_thinking=False,
    )


def _load_heard(name: str) -> tuple[dict[str, Any], list[str]]:
    """The tasks of a name, and lm-eval's warnings while loading them."""
    heard: list[str] = []
    with listening(heard):
        return _load(name), heard


def _load(name: str) -> dict[str, Any]:
    """The tasks of a name (several for a group), with their documents."""
    found = manager(name)
    try:
        loaded: dict[str, Any] = found.load([name])["tasks"]
    except Exception as error:  # the dataset client raises its own and its HTTP library's types
        raise PerbenchError(
            f"lm-eval's task {name} does not load: {type(error).__name__}: {error}; its documents come from "
            "a dataset hub: run it once online, or put a task with a local dataset into lm_eval/ of "
            "a plugin root"
        ) from error
    return loaded


def _evaluate(model: Any, leaf: str, task: Any, ids: list[int], wanted: LmEvalSpec) -> list[DocumentSample]:
    evaluator: Any = importlib.import_module("lm_eval.evaluator")
    # As lm_eval.evaluator.simple_evaluate sets them.
    if wanted.num_fewshot is not None:
        task.set_config(key="num_fewshot", value=wanted.num_fewshot)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=random.randrange(2**31))
    results = evaluator.evaluate(
        lm=model,
        task_dict={"tasks": {leaf: task}},
        samples={leaf: ids},
        bootstrap_iters=0,
        apply_chat_template=wanted.chat_template,
        fewshot_as_multiturn=wanted.chat_template,
    )
    mean: Any = importlib.import_module("lm_eval.api.metrics").mean
    averaged = {name for name, function in task.aggregation().items() if function is mean}
    samples: dict[int, DocumentSample] = {}
    for row in results["samples"][leaf]:
        # One row per document and filter.
        known = samples.setdefault(row["doc_id"], _sample(leaf, row))
        for metric in row["metrics"]:
            value = row[metric]
            name = metric_name(metric, row["filter"])
            if metric in averaged and isinstance(value, Real):
                known["metrics"][name] = float(value)
            else:
                known["unscored"].append(name)
    return [samples[number] for number in ids]


def _sample(leaf: str, row: Mapping[str, Any]) -> DocumentSample:
    name = f"{leaf}/{row['doc_id']}"
    answer = row["filtered_resps"][0] if row["filtered_resps"] else ""
    return DocumentSample(
        id=name,
        user=name,
        task=leaf,
        lm_eval=lm_eval_version(),
        question=str(row["arguments"][0][0]),
        reference=str(row["target"]),
        response=answer if isinstance(answer, str) else str(row["filtered_resps"]),
        metrics={},
        unscored=[],
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds lm-eval's random generators, and restores their state afterwards."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def score(name: str, wanted: LmEvalSpec, samples: Sequence[Sample]) -> Scored:
    """The mean of every metric over documents; for a group, over the documents of all its tasks."""
    names = dict.fromkeys(name for sample in samples for name in sample["metrics"])
    clusters = [sample["user"] for sample in samples]
    values: dict[str, list[float | None]] = {
        name: [sample["metrics"].get(name) for sample in samples] for name in names
    }
    shots = "task's" if wanted.num_fewshot is None else wanted.num_fewshot
    version = ",".join(sorted({sample["lm_eval"] for sample in samples}))
    tail = f"lm_eval:{version}|task:{name}|shots:{shots}|chat:{wanted.chat_template}"
    left = sorted({name for sample in samples for name in sample["unscored"]})
    return Scored(
        scores=Scores(ids=[sample["id"] for sample in samples], clusters=clusters, scores=dict(values)),
        metrics={name: mean_metric(values[name], clusters, f"{name}|{tail}") for name in names},
        counts={"samples": len(samples), "tasks": len({sample["task"] for sample in samples})},
        notes=[
            *(f"metric {name} absent: lm-eval does not average it over documents" for name in left),
            *warning_notes([sample.get("warnings", []) for sample in samples]),
        ],
    )
