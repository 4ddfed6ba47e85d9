"""`perbench check trainer`: every built-in one keeps the contract, and every breach of it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field

from perbench import plugins
from perbench.api import TokenBatch, Trainer
from perbench.cli import main
from perbench.conformance.trainer import check

NAN = float("nan")


@pytest.mark.parametrize("name", plugins.names("trainer"))
def test_built_in_trainers_keep_the_contract(name: str) -> None:
    report = check(plugins.get("trainer", name).load_class(), {})  # type: ignore[arg-type]
    assert [finding for finding in report.findings if not finding.ok] == []


def ones(batch: TokenBatch) -> torch.Tensor:
    return torch.ones(len(batch.targets))


def logp(batch: TokenBatch) -> torch.Tensor:
    return batch.factual.logp


def softmax(batch: TokenBatch) -> torch.Tensor:
    return (-logp(batch).detach()).softmax(0)


def changing(batch: TokenBatch) -> Any:
    batch.targets[0] = 0
    return -logp(batch), ones(batch)


def two_nans(batch: TokenBatch) -> Any:
    spoilt = torch.where(batch.targets == 12, torch.tensor(NAN), -logp(batch))
    return torch.where(batch.targets == 13, torch.tensor(NAN), spoilt), ones(batch)


BREACHES: dict[str, tuple[str, str, Callable[[TokenBatch], Any]]] = {
    # what is wrong: the check that finds it, what it says, the loss
    "one tensor": ("shapes", "two tensors", lambda b: -logp(b)),
    "a mean": ("shapes", "[] and [15]", lambda b: (-logp(b).mean(), ones(b))),
    "a token less": ("shapes", "[14] and [15]", lambda b: (-logp(b)[1:], ones(b))),
    "detached": ("shapes", "without gradient", lambda b: (-logp(b).detach(), ones(b))),
    "weights with gradient": ("shapes", "denominator with gradient", lambda b: (-logp(b), logp(b).exp())),
    "whole numbers": ("shapes", "torch.int64", lambda b: (-logp(b), torch.ones(15, dtype=torch.long))),
    "raises": ("shapes", "ValueError: no", lambda b: (_ for _ in ()).throw(ValueError("no"))),
    "no pairs": ("shapes", "declare examples", lambda b: (-logp(b) * b.rejected, ones(b))),
    "NaN": ("values", "2 of 15 numerators", two_nans),
    "infinite": ("values", "15 of 15 denominators", lambda b: (-logp(b), ones(b) / 0)),
    "NaN at the end": ("values", "progress 1", lambda b: (
        -logp(b) * (NAN if b.progress == 1 else 1), ones(b)
    )),
    "no gradient": ("gradient", "no gradient reaches", lambda b: (0 * logp(b), ones(b))),
    "NaN gradient": ("gradient", "NaN or infinite", lambda b: (
        -logp(b) + (logp(b) - logp(b)).sqrt(), ones(b)
    )),
    "negative weights": ("denominator", "-1", lambda b: (-logp(b), -ones(b))),
    "no weight": ("denominator", "sum to 0", lambda b: (-logp(b), 0 * ones(b))),
    "normalised over the batch": ("split", "batch.example", lambda b: (-logp(b) * softmax(b), softmax(b))),
    "ranked over the batch": ("split", "batch.example", lambda b: (
        -logp(b), (logp(b) > logp(b).median()).float() + 1
    )),
    "random": ("same again", "no randomness", lambda b: (-logp(b) * torch.rand(len(b.targets)), ones(b))),
    "changes the batch": ("batch kept", "clone()", changing),
    "undeclared pass": ("shapes", 'declare counterfactual = "no_grad"', lambda b: (
        -b.counterfactual.logp, ones(b)
    )),
    "undeclared reference": ("shapes", "reference()", lambda b: (-logp(b) + b.reference.factual, ones(b))),
}  # fmt: skip


def trainer(function: Callable[[TokenBatch], Any], **declared: Any) -> type[Trainer]:
    def loss(self: Trainer, batch: TokenBatch) -> Any:
        return function(batch)

    return type("Own", (Trainer,), {"loss": loss, **declared})


@pytest.mark.parametrize("what", BREACHES)
def test_every_breach_is_found_with_file_and_line(what: str) -> None:
    name, said, loss = BREACHES[what]
    report = check(trainer(loss), {})
    wrong = [finding for finding in report.findings if finding.ok is False]
    assert not report.ok
    (finding,) = [finding for finding in wrong if finding.name == name]
    assert said in finding.said
    assert "contract/test_trainer.py:" in finding.said
    if name == "shapes":
        assert {finding.ok for finding in report.findings[1:]} == {None}


@pytest.mark.parametrize(
    ("declared", "loss", "said"),
    [
        ({"counterfactual": "no_grad"}, lambda b: (-logp(b), ones(b)), "never reads that pass"),
        (
            {"counterfactual": "grad"},
            lambda b: (-logp(b) + b.counterfactual.logp.detach(), ones(b)),
            'declare "no_grad"',
        ),
        (
            {"counterfactual": "grad"},
            lambda b: (-b.counterfactual.logp, ones(b)),
            "declare factual = False",
        ),
        (
            {"reference": lambda self: "initial"},
            lambda b: (-logp(b), ones(b)),
            "batch.reference is not read",
        ),
    ],
)
def test_passes_that_are_declared_and_not_read(declared: Any, loss: Any, said: str) -> None:
    (wrong,) = [one for one in check(trainer(loss, **declared), {}).findings if not one.ok]
    assert wrong.name == "passes"
    assert said in wrong.said


class Bounded(Trainer):
    """Is NaN at the lower bound of what it says it takes."""

    power: Annotated[float, Field(ge=0, le=2)] = 1.0

    def loss(self, batch: TokenBatch) -> Any:
        weight = torch.ones(len(batch.targets)) / self.power
        return -weight * batch.factual.logp, weight


def test_hyperparameters_are_tried_at_their_bounds() -> None:
    (wrong,) = [one for one in check(Bounded, {}).findings if not one.ok]
    assert wrong.name == "settings"
    assert "power=0.0" in wrong.said
    report = check(Bounded, {"power": 0.5})  # what is given is not varied
    assert report.ok


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trainers"
    folder.mkdir()
    (folder / "batchy.py").write_text(
        "from perbench.api import Trainer\n\n\nclass Batchy(Trainer):\n    power: float = 1.0\n\n"
        "    def loss(self, batch):\n        logp = batch.factual.logp\n"
        "        weight = (logp.detach() * self.power).softmax(0)\n        return -weight * logp, weight\n"
    )
    words = ["check", "trainer", "batchy", "--include", str(tmp_path)]
    assert main(words) == 2
    out = capsys.readouterr().out
    assert "FAIL  split" in out
    assert "trainers/batchy.py:7" in out
    assert main([*words, "--json", "--param", "power=2.0"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["ok"] for one in found["checks"]}["split"] is False
    assert main([*words, "--param", "powr=2.0"]) == 2
    assert "Did you mean 'power'?" in capsys.readouterr().err
    assert main(["check", "trainer", "ce"]) == 0
