"""Names of the metrics of protocol identification (docs/identification.md, "Counting")."""

from __future__ import annotations

from perbench.text.marks import KINDS, LEVELS, RULES

TUNED = "_tuned"
"""Suffix of metrics under the threshold chosen on dev."""
GOLD, GOLD_CHECKED = "gold_spans", "gold_spans_checked"
"""In a record's counts: spans of the tested answers, and those that a person has checked."""
OWN = "each response's own"
"""In signatures, where an identifier sets a threshold for each response."""


def metric_name(statistic: str, level: str, rule: str = "contained") -> str:
    """ "f1" of tokens, "word_f1_strict"."""
    return f"{'' if level == 'token' else f'{level}_'}{statistic}{'_strict' * (rule == 'strict')}"


_CUT = (
    *(
        metric_name(name, level, rule)
        for level in LEVELS
        for rule in RULES
        for name in ("f1", "precision", "recall")
    ),
    *(f"recall_{kind}" for kind in KINDS),
    "false_distractor",
    "false_none",
    "threshold",
)
IDENTIFICATION_METRICS = (
    *_CUT,
    *(name + TUNED for name in _CUT),
    *(metric_name("average_precision", level) for level in ("token", "word")),
    "source_accuracy",
)
"""Which of them a record holds depends on the data: kinds, distractors, a dev split."""
