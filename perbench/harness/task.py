"""A task of perbench as lm-eval's Task: documents, requests, metrics. Imported by lm-eval alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as LmEvalTask
from lm_eval.api.task import TaskConfig
from lm_eval.filters import build_filter_ensemble

from perbench.errors import PerbenchError
from perbench.harness.asking import AskedDocument, Asker
from perbench.harness.rows import SpecRows, TaskRows, WrittenRows
from perbench.harness.tasks import sampled
from perbench.harness.values import aggregate, values
from perbench.harness.version import check_version, one_line_errors
from perbench.specs.compose import owner_of

log = logging.getLogger("lm_eval.perbench")
OURS = ("data", "set", "tokenizer")
"""Keys of `--metadata` that are read here."""
THEIRS = ("tokenizer_backend", "tokenizers")
"""Arguments of lm-eval's models with names like ours."""


class Task(LmEvalTask):  # type: ignore[misc]
    """Its configuration's key `perbench` says which task it is and where its examples are; `--metadata` may
    hold `data`, folders by family, and `tokenizer`, for models that have none."""

    VERSION = 1

    def __init__(self, config: Mapping[str, Any]) -> None:
        one_line_errors()
        check_version()
        self._known = dict(config.get("metadata") or {})
        for key in ("data", "set"):
            if not isinstance(self._known.get(key, {}), Mapping):
                raise PerbenchError(
                    f'--metadata: {key} must be an object, as in \'{{"{key}": {{"KEY": "VALUE"}}}}\''
                )
        for key in self._known.keys() - {*OURS, *THEIRS}:  # lm-eval adds the arguments of the model
            if near := get_close_matches(key, OURS, 1, 0.75):
                raise PerbenchError(f"--metadata: unknown key {key!r}; did you mean {near[0]!r}?")
        self._rows = _rows(config["perbench"], self._known)
        described = {key: value for key, value in config["perbench"].items() if key not in ("spec", "roots")}
        self._config = TaskConfig(
            task=config["task"],
            output_type=config["output_type"],
            generation_kwargs=self._sampling(config),
            num_fewshot=0,
            metadata={"version": self.VERSION, **self._known, **described, "data_sha256": self._rows.digest},
        )
        self.OUTPUT_TYPE = config["output_type"]
        self._filters = [build_filter_ensemble("none", [["take_first", None]])]
        self._training_docs = self._fewshot_docs = None
        self._instances: list[Instance] = []
        self._docs = [
            {"id": one.id, "user_id": one.user, "question": one.question, "reference": one.reference}
            for one in self._rows.examples
        ]
        self._plans: dict[str, AskedDocument] = {}
        owner = owner_of(self._rows.task.spec)
        own = self._rows.own
        self._score = owner.score if own is None else own.score
        headlines = owner.headlines() or [self._rows.task.spec.headline]
        self._metrics = list(dict.fromkeys(headlines if own is None else own.metrics))

    def _sampling(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """As the file says, unless `set` changes the task."""
        if config["output_type"] != "generate_until":
            return None
        if "set" in self._known:
            return sampled(self._rows.task.spec.sampling)
        return deepcopy(dict(config["generation_kwargs"]))

    # ------------------------------------------------------------ documents

    def has_training_docs(self) -> bool:
        return False

    has_validation_docs = has_training_docs

    def has_test_docs(self) -> bool:
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        return self._docs

    def doc_to_text(self, doc: Mapping[str, Any]) -> str:
        return str(doc["question"])

    def doc_to_target(self, doc: Mapping[str, Any]) -> str:
        return str(doc["reference"])

    # ------------------------------------------------------------ requests

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        samples: list[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        system_instruction: str | None = None,
        chat_template: Callable[..., Any] | None = None,
        **_: Any,
    ) -> None:
        """
        Raises:
            PerbenchError: an option is missing or has no place here; the model has no tokenizer; an example
                is too long.
        """
        name = self._config.task
        if chat_template is None:
            raise PerbenchError(
                f"{name}: its prompts are turns of a chat, with the persona in the system turn; add "
                "--apply_chat_template"
            )
        if system_instruction:
            raise PerbenchError(f"{name}: it has its own system text; remove --system_instruction")
        named, own = self._rows.task, self._rows.own
        asker = Asker(chat_template, self._known.get("tokenizer"), named, needed=self._rows.needs_tokenizer)
        docs = list(self.doc_iterator(rank=rank, limit=limit, samples=samples, world_size=world_size))
        place = {doc["id"]: number for number, doc in enumerate(self._docs)}
        asked = self._rows.asked([place[doc["id"]] for _, doc in docs], asker.tokenizer, asker.context)
        given = self._config.generation_kwargs or {}
        stored: dict[str, list[Any]] = {}
        if own is None:
            from perbench.harness.talk import held

            plain = sampled(named.spec.sampling)
            changed = {key: value for key, value in given.items() if plain.get(key) != value}
            stored = held(named, [one.example for one in asked], asker, changed)
        self._instances = []
        for (number, doc), one in zip(docs, asked, strict=True):
            plan = self._plans[doc["id"]] = AskedDocument(asker, one)
            plan.samples = stored.get(one.example.id, [])
            for index, (kind, arguments) in enumerate(plan.arguments(self.OUTPUT_TYPE, given)):
                instance = Instance(kind, doc, arguments, index, metadata=(name, number, 1))
                self._instances.append(instance)
        if not self._instances:
            raise PerbenchError(f"{name}: no documents are left to evaluate")
        skipped = 0 if own is None else sum(one.asking is None for one in asked)
        if skipped:
            log.warning("%s: %d of %d examples are left out as too long", name, skipped, len(asked))

    def construct_requests(self, doc: Any, ctx: Any, **_: Any) -> Any:
        raise NotImplementedError("build_all_requests makes them")

    # ------------------------------------------------------------ results

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        plan, own = self._plans[doc["id"]], self._rows.own
        if own is not None and plan.asked.asking is None:
            plan.samples = [dict(own.left_out(plan.asked.example))]
        elif own is not None and plan.asked.asking is not None:
            replies = plan.replies(results)
            found = own.sample(plan.asked.example, plan.asked.asking, replies, plan.asker.tokenizer)
            plan.samples = [dict(found)]
        return {**values(self._score, self._metrics, plan.samples), "samples": plan.samples}

    def aggregation(self) -> dict[str, Callable[[list[Any]], float | None]]:
        of = {name: partial(aggregate, self._score, name) for name in self._metrics}
        return {**of, "samples": lambda items: sum(map(len, items))}

    def higher_is_better(self) -> dict[str, bool]:
        owner = owner_of(self._rows.task.spec)
        better = {name: owner.scale(name).better for name in self._metrics}
        return {name: which == "higher" for name, which in better.items() if which is not None}


def _rows(given: Mapping[str, Any], known: Mapping[str, Any]) -> TaskRows:
    if "rows" in given:
        folder = Path(known["config_source"]).parent
        return WrittenRows(
            given["task"], folder / given["rows"], given["rows_sha256"], given["spec"], given["data_sha256"]
        )
    data = {**given.get("data", {}), **known.get("data", {})}
    return SpecRows(given["task"], data, given.get("roots", ()), overrides=known.get("set", {}))
