"""Tasks of lm-evaluation-harness as targets; one sample per document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import Role
from perbench.contracts.metric import Scale
from perbench.contracts.protocol import Batch, Protocol, Sample
from perbench.shapes.base import Strict

from .catalogue import PREFIX
from .section import Documents, LmEvalSpec

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored
    from perbench.stats.spread import Statistic
    from perbench.store.record import Metric


class Keys(Strict):
    lm_eval: LmEvalSpec = LmEvalSpec()


class LmEval(Protocol[Keys]):
    """lm-eval builds the prompts, calls the model and computes each document's metrics. Samples are
    `samples.DocumentSample`."""

    Keys = Keys
    reads = frozenset({"examples.test"})
    fields = ()
    late = True
    version = 2
    source = Documents
    prefix = PREFIX

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        from .catalogue import spec_values

        return spec_values(name)

    def headlines(self) -> None:
        return None

    def scale(self, metric: str) -> Scale:
        from .catalogue import lower_is_better

        name = Documents(self.spec.data).keys.lm_eval
        return Scale("lower" if lower_is_better(name, metric) else "higher")

    def roles(self) -> Sequence[Role]:
        message = (
            "lm-evaluation-harness needs tokens and log-probs, but {model} is {what}, which gives none; use "
            "models whose weights are on this machine"
        )
        return [Role("subject", None, {"module": message})]

    def unverified(self) -> Iterator[str]:
        yield "lm-eval's documents and their scores"

    def renders(self) -> bool:
        return self.keys.lm_eval.chat_template

    def dataset(self, limit: int | None) -> Dataset:
        from perbench.contracts.data import Dataset

        from .catalogue import describe

        name = Documents(self.spec.data).keys.lm_eval
        counts = [count for count in (self.spec.examples.test, limit) if count is not None]
        digest, described = describe(name, min(counts, default=None))
        return Dataset([], digest, source=described)

    def sample_ids(self, dataset: Dataset, dev: Dataset | None = None) -> Sequence[str]:
        from .documents import sample_ids

        return sample_ids(self.keys.lm_eval, dataset)

    def late_ids(self, dataset: Dataset, folder: Callable[[], Path]) -> Sequence[str]:
        from .documents import sample_ids

        return sample_ids(self.keys.lm_eval, dataset, folder)

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        from .documents import batches

        return batches(self.keys.lm_eval, dataset, engines, seed)

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        return {}  # lm-eval does not report its tokens

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .catalogue import group_metrics
        from .scores import score

        name = Documents(self.spec.data).keys.lm_eval
        return score(name, self.keys.lm_eval, samples, group_metrics(name))

    @classmethod
    def statistic(cls, metric: Metric) -> Statistic | None:
        from .scores import statistic

        return statistic(metric.signature)
