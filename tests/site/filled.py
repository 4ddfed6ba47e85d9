"""Contents of runs for tests of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.store import Labels

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def fill(bench: Bench) -> None:
    """One of everything: base, baseline, gain, failure, absence, dialogue, identification, training."""
    bench.describe(baseline="ce")
    bench.evaluate([0.1, 0.2, 0.3])
    trained = bench.cell(
        "train",
        Labels(model="tiny", trainer="ce", source="fam/write", seed=0),
        training_log=[
            {"step": 1, "loss": 2.5, "lr": 1e-5, "tokens_per_second": 13412.6},
            {"step": 2, "loss": 2.25, "lr": 5e-6},
        ],
        tokens={"response": 4242},
    )
    bench.evaluate([0.2, 0.2, 0.3], trainer="ce", source="fam/write", trained_by=trained.identity)
    other = bench.cell("train", Labels(model="tiny", trainer="perce", source="fam/write", seed=0))
    method = {"trainer": "perce", "source": "fam/write", "trained_by": other.identity}
    bench.evaluate([0.4, 0.5, 0.9], **method, counts={"truncated": 77})
    bench.evaluate(None, **method, target="fam/other")
    talk = {"target": "fam/talk", "headline": "rating", "notes": ["judge uncalibrated"]}
    bench.evaluate([3, 4, 2], turns=[2.5, None], beside={"ir": -0.125}, **talk)
    bench.evaluate(
        [4, 4, 5], turns=[4.25, 4.5], trainer="ce", source="fam/write", trained_by=trained.identity, **talk
    )
    bench.identify("percontrast", 0.5, tokens={"timed_examples": 30, "timed_ms": 1500})


def everywhere(bench: Bench, text: str) -> None:
    """The text in every place of its records."""
    bench.describe(Labels(model="tiny", target=text + "planned", seed=0), summary=text)
    labels = {"model_label": text, "training": {text: text}, "trainer_params": {text: [text]}}
    for value, trainer in ((0.1, "ce"), (0.2, text)):
        bench.evaluate(
            [value, value],
            trainer=trainer,
            source=text,
            target=text,
            model=text,
            labels=labels,
            headline=text,
            turns=[0.5],
            notes=[text],
            counts={text: 1},
            tokens={text: 1},
            environment={text: text},
            command=text,
            inputs={"digest" + text: text, "target": text},
        )
    error = {"type": text, "message": text, "traceback": text}
    label = Labels(model=text, trainer="ce", source=text, target="fam/write", seed=0)
    bench.cell("eval", label, status="failed", error=error, training_log=[{text: 1.0}])
    bench.identify(text, 0.5, target=text, notes=[text])
