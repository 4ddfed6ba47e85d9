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


def vary(bench: Bench) -> None:
    """Two methods over learning rates and one over two numbers, on a task of which papers have values; two
    sources, settings that differ, two models."""
    bench.describe(baseline="ce")
    task, other = "longlamp/pag", "longlamp/prw"
    spread = [(0.1, 0.2, 0.3), (0.61, 0.70, 0.79), (0.4, 0.3, 0.2), (0.5, 0.52, 0.48)]
    for model in ("Qwen/Qwen3-4B", "tiny"):
        for source in (task, other):
            for place, rate in enumerate((2e-6, 5e-6)):
                for at, trainer in enumerate(("ce", "perce", "nextquill")):
                    labels = {"training": {"learning_rate": rate}}
                    where = {"trainer": trainer, "source": source, "target": task, "model": model}
                    bench.evaluate(spread[(place + at) % 4], labels=labels, **where)
        for place, (low, high) in enumerate([(0.2, 5.0), (0.8, 5.0), (0.2, 2.0), (0.8, 2.0)]):
            labels = {"trainer_params": {"clip_min": low, "clip_max": high}}
            where = {"trainer": "perce", "source": task, "target": task, "model": model}
            bench.evaluate(spread[place], labels=labels, **where)


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
