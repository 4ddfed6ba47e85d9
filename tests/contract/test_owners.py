"""`perbench check` of metrics, rankings, summarisers and protocols: every breach of a contract is found."""

from __future__ import annotations

import importlib
import json
import textwrap
from pathlib import Path

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.cli.new import SKELETONS

BUILT_IN = [
    *((kind, name) for kind in ("metric", "ranking", "summariser") for name in plugins.names(kind)),
    *(("protocol", name) for name in ("generation", "identification", "likelihood", "choice")),
]
BUILT_IN.remove(("metric", "meteor"))  # needs WordNet
REQUIRED = {
    **{name: {"labels": ["Tea", "An answer may be empty."]} for name in ("accuracy", "macro_f1")},
    **{name: {"ratings": [1, 5]} for name in ("mae", "rmse")},
    "choice": {
        "data.data_dir": str(Path(__file__).parents[1] / "golden/cache/data/prefeval"),
        "choice.turns": 1,
    },
}


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_what_is_built_in_keeps_its_contract(kind: str, name: str) -> None:
    suite = importlib.import_module(f"perbench.conformance.{kind}")
    report = suite.check(plugins.get(kind, name).load_class(), REQUIRED.get(name, {}))
    assert [finding for finding in report.findings if not finding.ok] == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ([], "--param labels=VALUE"),
        (["labels=[a]"], "labels"),
        (["labels=[a, b]", "ratings=[1, 5]"], "ratings"),
    ],
)
def test_a_metric_is_tried_with_the_keys_it_requires(
    params: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "metric", "accuracy", *(word for one in params for word in ("--param", one))]) == 2
    assert said in capsys.readouterr().err


METRIC = """
from perbench.contracts.metric import Measured, TextMetric, mean_metric
from perbench.store.record import Metric


class Own(TextMetric):
    NAMES

    def measure(self, name, texts):
        values = [float(len(text) > 3) for text in texts.predictions]
        metric = mean_metric(values, texts.clusters, "own")
        BODY
        return Measured(metric, values)
"""
RANKING = """
from perbench.contracts.base import NoKeys
from perbench.contracts.persona import Ranking


class Own(Ranking[NoKeys]):
    calls = 0

    def rank(self, text, examples, models):
        found = [list(range(len(one.persona))) for one in examples]
        BODY
        return found
"""
SUMMARISER = """
import random

from perbench.contracts.base import NoKeys
from perbench.contracts.persona import Rewritten, Summariser
from perbench.shapes.sampling import SamplingSpec


class Own(Summariser[NoKeys]):
    def rewrite(self, histories, models):
        texts = [" ".join(history)[:40] for history in histories]
        BODY
        return Rewritten(texts, {})

    def asks(self, examples):
        return {}

    def longest(self):
        return 10
"""
SKELETON = SKELETONS / "protocol"
PROTOCOL = (SKELETON / "protocols/my_protocol.py").read_text("utf-8")

BREACHES: dict[str, tuple[str, str, str, str]] = {
    # what is wrong: the kind, the check that finds it, what it says, the code
    "bare value": ("metric", "values", "return Measured", "return 0.5"),
    "a value less": ("metric", "values", "7 values for 8", "values.pop()"),
    "out of range": ("metric", "values", "outside its range", "values = [one + 1 for one in values]"),
    "samples lost": ("metric", "values", "missing 3", "metric = metric.model_copy(update={'missing': 3})"),
    "unsigned": ("metric", "values", "signature", "metric = metric.model_copy(update={'signature': ''})"),
    "another mean": ("metric", "mean", "mean_metric", "metric = metric.model_copy(update={'value': 0.1})"),
    "nothing scores 0": ("metric", "nothing", "no samples", """
        if not values:
            metric = metric.model_copy(update={'value': 0.0})
        return Measured(metric)
    """),
    "breaks on one": ("metric", "odd texts", "the answer was ''", "assert texts.predictions != ['']"),
    "by place": ("metric", "order", "order", "values[:1] = values[:1] and [0.25]; return Measured("
        "mean_metric(values, texts.clusters, 'own'), values)"),
    "sorts its texts": ("metric", "same again", "other metrics read", "texts.predictions.sort()"),
    "not a list": ("ranking", "places", "one list of indices", "return None"),
    "twice": ("ranking", "places", "not distinct", "found[0] = [0, 0]"),
    "out of the history": ("ranking", "places", "not distinct", "found[-1] = [0]"),
    "unnamed encoder": ("ranking", "places", "'far'", "models.encoder('far')"),
    "by its neighbours": ("ranking", "alone", "--limit", "found = [one[len(found) == 1 :] for one in found]"),
    "knows the answer": ("ranking", "reference", "question and persona", """
        found[0] = found[0][examples[0].reference.startswith("A") :]
    """),
    "keeps a state": ("ranking", "same again", "state", "Own.calls ^= 1; found[0] = found[0][Own.calls :]"),
    "no texts": ("summariser", "texts", "Rewritten", "return texts"),
    "a text for nobody": ("summariser", "texts", "0 items", "texts[-1] = 'nobody'"),
    "unnamed model": ("summariser", "texts", "'far'", "models.summariser('far')"),
    "by the others": ("summariser", "alone", "own items", "texts = [one[: len(texts)] for one in texts]"),
    "drawn texts": ("summariser", "same again", "seed", "texts[0] = str(random.random())"),
}  # fmt: skip
CHANGES: dict[str, tuple[str, str, str, str]] = {
    # what is wrong: the check that finds it, what it says, a line of the skeleton, what stands there instead
    "a tuple": ("samples", "JSON", '"user": example.user', '"user": example.user, "pair": (1, 2)'),
    "no user": ("samples", "names no user", '"user": example.user', '"user": None'),
    "no id": ("samples", "without id;", '"id": example.id,\n                "user"', '"user"'),
    "no tokens": ("samples", "no new_tokens", '"new_tokens": answer.new_tokens,', ""),
    "other ids": ("samples", "sample id", "Batch([example.id for", 'Batch([example.id + "x" for'),
    "an unnamed judge": ("samples", "'far'", "engines.subject, requests", 'engines.named("far"), requests'),
    "drawn anew": ("resume", "seed", "answer.text", "answer.text + str(__import__('random').random())"),
    "impure": ("score", "pure", '[sample["user"] for', '[sample.pop("user") for'),
    "no headline": ("score", "'holds'", '{"holds": mean_metric', '{"held": mean_metric'),
    "out of range": ("score", "outside its range", "values = [\n", "values = [\n            7.0 + "),
    "no mean": (
        "score",
        "holds.value is",
        '"holds": mean_metric(values, users',
        '"holds": mean_metric([1.0] + values[1:], users',
    ),
    "nothing to read": ("shown", "`answer` or `turns`", '"response": answer.text,', '"text": answer.text,'),
    "another's answer": (
        "shown",
        "the id 'else'",
        "    def score(",
        """    def shown(self, samples, example):
        from perbench.contracts.shown import Shown

        return Shown("else", answer="text")

    def score(""",
    ),
    "not for reading": (
        "shown",
        "returned NoneType",
        "    def score(",
        """    def shown(self, samples, example):
        return None

    def score(""",
    ),
    "no such metric": (
        "audit",
        "'without'",
        "    prompted = True",
        """    prompted = True
    beside = {"holds": __import__("perbench.contracts.protocol").contracts.protocol.Beside("without")}""",
    ),
    "no such place": (
        "audit",
        "place 2 among 2",
        "    def score(",
        """    def offered(self, example):
        from perbench.contracts.data import Offered

        return Offered(["yes", "no"], 2)

    def score(""",
    ),
    "strange role": ("plan", "judge, which", '{"subject": Asked', '{"judge": Asked'),
}


def findings(root: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["check", kind, "own", "--json", "--include", str(root)]) == 2
    report = json.loads(capsys.readouterr().out)
    return {one["name"]: one["said"] for one in report["checks"] if one["ok"] is False}


@pytest.mark.parametrize("what", BREACHES)
def test_every_breach_is_found(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind, check, said, body = BREACHES[what]
    template = {"metric": METRIC, "ranking": RANKING, "summariser": SUMMARISER}[kind]
    code = textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8).lstrip()
    file = tmp_path / plugins.KINDS[kind].folder / "own.py"
    file.parent.mkdir()
    file.write_text(
        template.replace("BODY", code).replace("NAMES", "scale = TextMetric.scale"), encoding="utf-8"
    )
    found = findings(tmp_path, kind, capsys)
    assert said in found[check]
    assert f"{file.parent.name}/own.py:" in found[check]


def test_names_that_are_no_literal_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics").mkdir()
    text = METRIC.replace("BODY", "pass").replace("NAMES", "names = tuple(['one', 'two'])")
    (tmp_path / "metrics" / "own.py").write_text(text, encoding="utf-8")
    assert "literal" in findings(tmp_path, "metric", capsys)["names"]


@pytest.mark.parametrize("what", CHANGES)
def test_every_breach_of_a_protocol_is_found(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check, said, old, new = CHANGES[what]
    assert PROTOCOL.count(old) == 1
    for name, text in {
        "protocols/own.py": PROTOCOL.replace(old, new),
        "tasks/own.yaml": (SKELETON / "tasks/my_protocol.yaml").read_text("utf-8"),
        "tasks/own.jsonl": (SKELETON / "tasks/my_protocol.jsonl").read_text("utf-8"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("my_protocol", "own"), encoding="utf-8")
    found = findings(tmp_path, "protocol", capsys)
    assert said in found[check]
    assert "protocols/own.py:" in found[check]


@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        ("metric", '"lower"', '"lowest"', "better: got 'lowest'"),
        ("metric", "(0.0, 1.0)", "(1.0, 0.0)", "bounds: got (1, 0)"),
        (
            "protocol",
            '"question", "ref',
            '"qestion", "ref',
            "fields: unknown 'qestion'. Did you mean 'question'",
        ),
        ("protocol", '"sampling"}', '"samplin"}', "reads: no task has the key samplin"),
        (
            "engine",
            'frozenset({"chat"})',
            'frozenset({"chatt"})',
            "offers: unknown 'chatt'. Did you mean 'chat'",
        ),
    ],
)
def test_what_a_class_declares_is_checked_before_it_is_used(
    kind: str, old: str, new: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / plugins.KINDS[kind].folder / "own.py"
    file.parent.mkdir()
    text = (SKELETONS / kind / plugins.KINDS[kind].folder / f"my_{kind}.py").read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(f"my_{kind}", "own").replace(old, new), encoding="utf-8")
    for command in (["check", kind, "own", "--include", str(tmp_path)], ["validate", str(file)]):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert said in err
        assert str(file) in err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return [Generation(", "return [repr(read) or (", "list of Generation"),
        ("for tokens in read]", "for tokens in read[1:]]", "1 answers to 2"),
        ('frozenset({"chat"})', 'frozenset({"chat", "score"})', "offers chat, score"),
        ("def chat(", "def talk(", "chat"),
    ],
)
def test_every_breach_of_an_engine_is_found(
    old: str, new: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("engines/my_engine.py", "leaderboard/models/my_engine.yaml"):
        text = (SKELETONS / "engine" / name).read_text("utf-8")
        file = tmp_path / name.replace("my_engine", "own")
        file.parent.mkdir(parents=True)
        file.write_text(text.replace("my_engine", "own").replace(old, new), encoding="utf-8")
    assert said in findings(tmp_path, "engine", capsys)["chat"]


def test_a_protocol_without_a_task_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "own.py").write_text(PROTOCOL.replace("my_protocol", "own"), encoding="utf-8")
    assert main(["check", "protocol", "own", "--include", str(tmp_path)]) == 2
    assert "`protocol: own`" in capsys.readouterr().err


def test_keys_are_given_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "ranking", "random", "--param", "seed=3"]) == 0
    assert main(["check", "ranking", "random", "--param", "sed=3"]) == 2
    assert "Did you mean 'seed'?" in capsys.readouterr().err
    assert main(["check", "metric", "length", "--param", "words=3"]) == 2
    assert main(["check", "model", "smollm2-135m"]) == 0
