"""BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu: corpus level, 0-100.

Neither is a mean over samples: each sample has sufficient statistics, and the score is computed from their
sum. What neither can read is left out of the corpus and counted: for chrF an empty reference; for BLEU one
without words, or in a script without spaces between them, which its 13a tokens take for one word. Without a
reference of four words there is no 4-gram to find, and no BLEU.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, rows_metric
from perbench.text.scripts import BLANK, SHORT, spaced

if TYPE_CHECKING:
    from perbench.stats.spread import Floats


class Corpus(TextMetric):
    names = ("bleu", "chrf")
    titles = MappingProxyType({"bleu": "BLEU", "chrf": "chrF"})
    scale = Scale(bounds=(0.0, 100.0))

    def measure(self, name: str, texts: Texts) -> Measured:
        """The corpus score of what can be read, with its 95% interval."""
        scorer = _scorer(name)
        signature = f"{name}|{scorer.get_signature()}"
        reasons = [_unreadable(name, reference) for reference in texts.references]
        if name == "bleu":
            deep = [max(0, len(scorer.tokenizer(one).split()) - 3) for one in texts.references]
            if not any(count for count, reason in zip(deep, reasons, strict=True) if reason is None):
                reasons = [reason or SHORT for reason in reasons]
        else:
            deep = [1] * len(reasons)
        there = [place for place, reason in enumerate(reasons) if reason is None]
        sums: list[list[float] | None] = [None] * len(reasons)
        if there:
            predictions, references = (
                [of[place] for place in there] for of in (texts.predictions, texts.references)
            )
            # Two private methods, this one and that of `of_sums`, are what sacrebleu's own significance tests
            # use, alike for both metrics.
            found = scorer._extract_corpus_statistics(predictions, [references])
            for place, row in zip(there, found, strict=True):
                sums[place] = [*row, deep[place]]
        statistic = partial(self.of_sums, name)
        metric = rows_metric(statistic, sums, texts.clusters, signature, reasons, scale=self.scale)
        return Measured(metric, sums=sums if there else None)

    def of_sums(self, name: str, sums: Floats) -> Floats:
        """The last number of each row counts what there is to find: without any, a score is undefined."""
        import numpy as np

        scorer = _scorer(name)
        return np.array(
            [
                scorer._compute_score_from_stats(row[:-1]).score if row[-1] else np.nan
                for row in sums.astype(np.int64).tolist()
            ]
        )


def _scorer(name: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer: Any = BLEU(force=True) if name == "bleu" else CHRF()
    scorer.num_refs = 1
    return scorer


def _unreadable(name: str, reference: str) -> str | None:
    if name == "bleu":
        return spaced(reference)
    return None if reference.strip() else BLANK
