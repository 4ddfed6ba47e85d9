"""perbench ls and show."""

import hashlib
import itertools
import json
from pathlib import Path

import pytest
import yaml

from perbench import cli, plugins
from perbench.cli.show import refilled


def run(capsys, *words):
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


def test_ls_groups_by_kind_with_summaries(capsys):
    out = run(capsys, "ls")
    lines = out.splitlines()
    assert lines.index("identifiers") < lines.index("trainers") < lines.index("models")
    assert any(line.startswith("  smollm2-135m  ") and "SmolLM2" in line for line in lines)
    only = run(capsys, "ls", "trainers")
    assert only.splitlines()[0] == "trainers"
    assert "smollm2" not in only


def test_ls_names_metrics_of_one_file_on_one_line(capsys):
    lines = run(capsys, "ls", "metrics").splitlines()
    assert sum(line.startswith("  rouge1, rouge2, rougeL ") for line in lines) == 1
    assert len({line.split("  ")[-1] for line in lines}) == len(lines)
    rows = json.loads(run(capsys, "ls", "metrics", "--json"))
    assert {"rouge1", "rouge2", "rougeL"} <= {row["name"] for row in rows}


def test_long_lists_of_names_say_where_the_rest_is(capsys):
    assert cli.main(["show", "matrix", "nope"]) == 2
    assert "perbench ls matrices" in capsys.readouterr().err
    assert cli.main(["show", "engine", "nope"]) == 2
    assert "perbench ls" not in capsys.readouterr().err


def test_no_command_is_answered_by_the_help(capsys):
    assert cli.main([]) == 2
    found = capsys.readouterr()
    assert not found.out
    assert "commands:" in found.err


def test_check_leaves_no_blanks_at_the_ends_of_lines(capsys):
    lines = run(capsys, "check", "metric", "rougeL").splitlines()
    assert len(lines) > 2
    assert [line for line in lines if line != line.rstrip()] == []


def test_ls_json_is_a_list_of_what_there_is(capsys):
    rows = json.loads(run(capsys, "ls", "trainers", "--json"))
    assert {"ce", "perce", "nextquill"} <= {row["name"] for row in rows}
    assert all(
        set(row) == {"kind", "name", "summary", "path"} and Path(row["path"]).is_file() for row in rows
    )
    assert all(row["summary"] for row in rows)


def test_show_a_trainer(capsys):
    out = run(capsys, "show", "trainer", "perce")
    for part in ("PerCE", "clip_max", "default 5.0", ">= 0 and <= 1", "counterfactual: no_grad", "perce.py"):
        assert part in out
    about = json.loads(run(capsys, "show", "trainer", "perce", "--json"))
    assert about["sha256"] == hashlib.sha256(Path(about["path"]).read_bytes()).hexdigest()
    defaults = {row["name"]: row["default"] for row in about["hyperparameters"]}
    assert (defaults["clip_min"], defaults["clip_max"]) == (0.8, 5.0)
    assert (about["factual"], about["counterfactual"]) == (True, "no_grad")
    texts = {row["name"]: row["text"] for row in about["hyperparameters"]}
    assert "evenly" in texts["open_over"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_texts_fit_the_terminal_without_torn_lines(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = run(capsys, "show", "trainer", "perce").partition("\n\n")[2].partition("hyperparameters")[0]
    assert max(map(len, text.splitlines())) <= min(width, 100)
    paragraphs = [part.splitlines() for part in text.strip().split("\n\n")]
    # A line ends early only where its successor's first word would not fit.
    for lines in paragraphs:
        for line, after in itertools.pairwise(lines):
            assert len(line) + 1 + len(after.split()[0]) > min(width, 100)
    assert run(capsys, "show", "engine", "transformers").rstrip().splitlines()[-1].startswith("identity: ")


def test_indented_lines_and_lists_are_not_filled():
    kept = "- a list that is wider than the terminal\n- a second\n\n    code = [1, 2, 3, 4, 5, 6]\n"
    assert refilled(kept, 20) == kept


def test_families_of_data(capsys):
    assert run(capsys, "ls", "families").startswith("families\n  aloe")
    out = run(capsys, "show", "family", "longlamp")
    assert "LongLaMP (arXiv 2407.11016)" in out
    assert "- abstract_generation_user/train" in out or "[abstract_generation_user/train" in out
    assert "repository: LongLaMP/LongLaMP" in out
    assert "product_review_user/*.parquet: null" in out
    assert "hyperparameters" not in out


def test_a_family_goes_by_its_name_with_dashes_too(capsys):
    shown = json.loads(run(capsys, "show", "family", "synthetic-persona-chat", "--json"))
    assert shown == json.loads(run(capsys, "show", "family", "synthetic_persona_chat", "--json"))
    assert shown["name"] == "synthetic_persona_chat"
    (remote,) = shown["remotes"]
    assert remote["repository"] == "google-research-datasets/Synthetic-Persona-Chat"
    assert all(checksum.startswith("git:") for checksum in remote["files"].values())


def test_show_says_which_hyperparameters_are_required(tmp_path, capsys):
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "must.py").write_text(
        "from perbench.api import Trainer\n\n\nclass Must(Trainer):\n    given: int\n"
        "    free: int | None = None\n\n"
        "    def loss(self, batch):\n        return batch.targets, batch.targets\n",
        encoding="utf-8",
    )
    out = run(capsys, "show", "trainer", "must", "--include", str(tmp_path))
    assert "given: int, required" in out
    assert "free: int | None, default None" in out


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_kind_is_listed_and_shown(kind, capsys):
    rows = json.loads(run(capsys, "ls", plugins.KINDS[kind].plural, "--json"))
    assert rows
    assert {row["kind"] for row in rows} == {kind}
    name = rows[0]["name"]
    shown = run(capsys, "show", kind, name)
    assert shown.splitlines()[:2] == [f"{kind} {name}", rows[0]["path"]]
    assert json.loads(run(capsys, "show", kind, name, "--json"))["path"] == rows[0]["path"]


def test_show_tells_an_owners_keys_what_it_reads_and_the_models_it_asks(capsys):
    about = json.loads(run(capsys, "show", "protocol", "preference", "--json"))
    keys = {row["name"]: row for row in about["keys"]}
    assert keys["preference"]["type"] == "section"
    assert (keys["preference.turns"]["type"], keys["preference.turns"]["default"]) == ("int >= 0", 5)
    assert keys["preference.judge.model"]["required"]
    assert keys["preference.judge.method"]["type"] == "'reply' | 'likeliest'"
    assert keys["preference.judge.max_new_tokens"]["text"]
    assert not keys["preference.turns"]["text"]
    assert "sampling" in about["reads"]
    assert (about["version"], about["fields"]) == (1, ["user", "question"])
    (judge,) = about["roles"]
    assert (judge["name"], judge["model"]) == ("judge", "preference.judge.model")
    (encoder,) = json.loads(run(capsys, "show", "ranking", "dense", "--json"))["roles"]
    assert encoder["needs"] == ["vectors"]
    out = run(capsys, "show", "protocol", "generation")
    lines = out.splitlines()
    below = lines[lines.index("  persona_swap.others: int > 0, default 4") + 1]
    assert below.startswith("    ")
    assert below.strip()
    assert "name: scorer" in out


def test_show_tells_which_values_of_a_metric_are_better(capsys):
    about = json.loads(run(capsys, "show", "metric", "bleu", "--json"))
    assert about["scale"] == {"better": "higher", "bounds": [0.0, 100.0]}
    assert about["names"] == ["bleu", "chrf"]
    assert "bounds: [0.0, null]" in run(capsys, "show", "metric", "length")


def test_show_a_spec_with_its_defaults(capsys):
    out = run(capsys, "show", "model", "smollm2-135m")
    spec = yaml.safe_load(out.partition("\n\n")[2])
    assert (spec["label"], spec["dtype"], spec["hub"]) == ("Q4_1 dequantised", "auto", None)
    assert json.loads(run(capsys, "show", "model", "smollm2-135m", "--json"))["spec"] == spec


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "trainer", "perse"], "unknown trainer 'perse'. Did you mean 'perce'?"),
        (["run", "--matrix", "mine"], "A matrix of your own needs --include DIR."),
        (["show", "trainers", "ce"], "unknown 'trainers'. Did you mean 'trainer'?"),
    ],
)
def test_show_suggests(words, said, capsys):
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_show_a_model_says_where_its_weights_are(capsys, tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "leaderboard" / "models"
    folder.mkdir(parents=True)
    for name, place in {
        "near": f"path: {tiny_model_dir}",
        "gone": "path: nowhere",
        "far": "hub: someone/something",
        "asked": "endpoint: {model: m}",
    }.items():
        (folder / f"{name}.yaml").write_text(f"summary: a model\n{place}\n", encoding="utf-8")
    weights = {}
    for name in ("near", "gone", "far", "asked"):
        words = ("show", "model", name, "--include", str(tmp_path))
        found = json.loads(run(capsys, *words, "--json"))
        weights[name] = found["weights"]
        shown = found["weights"] or found["weights_note"]
        assert f"weights {shown}" in run(capsys, *words)
    assert weights == {"near": str(tiny_model_dir), "gone": None, "far": None, "asked": None}
