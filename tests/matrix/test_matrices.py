"""Every matrix that comes with perbench is sound, and can be planned where nothing is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, plugins
from perbench.prepare.prepare import Request, prepare
from perbench.specs.load import load_reported
from perbench.specs.matrices import every_profile, load_matrix

NAMES = plugins.names("matrix")
PAPERS = {
    # Cells to train, to evaluate, and to evaluate after selection (trainers x settings x tasks, by hand);
    # and the models on tasks in the paper's table.
    "perce_table1": (2 * 5 * 3, 2 * 5 * 3, 0, 2 * 3),
    "perce_table1_llama3_8b": (2 * 5 * 3, 2 * 5 * 3, 0, 2 * 3),
    "perce_table1_qwen3_14b": (2 * 5 * 3, 2 * 5 * 3, 0, 2 * 3),
    "perce_table1_references": (0, 2 * 3, 0, 2 * 3),
    "perce_lr_robustness": (2 * 5 * 3, 2 * 5 * 3, 0, 2 * 5 * 3),
    "perce_clip": (3 * 3 * 3, 3 * 3 * 3, 0, 3 * 3 * 3),
    "perce_cross_task": (2 * 3, 2 * 3 * 3, 0, 2 * 3 * 3),
    "perce_cross_task_llama3_8b": (2 * 5 * 3, 2 * 5 * 3, 2 * 3 * 2, 2 * 3 * 3),
    "perce_aloe_transfer": (2 * 3, 2 * 3, 0, 2 * 3),
    "perce_aloe_transfer_llama3_8b": (2 * 5 * 3, 2 * 5 * 3, 2 * 3, 2 * 3),
    "nextquill_table1": ((2 + 2 + 9) * 3, (2 + 2 + 9) * 3, 0, 4 * 3),
    "nextquill_table1_untrained": (0, 5 * 3, 0, 5 * 3),
    "nextquill_ablation": (4 * 3, 4 * 3, 0, 4 * 3),
    "nextquill_figures": (3 + 3, 3 + 3, 0, 3 + 3),
    "nextquill_figure3": (0, 3, 0, 3),
    "nextquill_readings": (7, 7 + 1, 0, 0),
    "perce_drop": (2 * 3, 2 * 3 + 1, 0, 2 * 3),
    "perce_figure4": (0, 0, 0, 3),
}
PROFILES = {
    # The same under the other profiles. sound: three seeds, and a validation split that chooses; as_code: one
    # model for the three categories, but one for each where users have adapters.
    "perce_table1 sound": (90, 90, 6 * 3),
    "perce_table1_llama3_8b sound": (90, 90, 6 * 3),
    "perce_table1_qwen3_14b sound": (90, 90, 6 * 3),
    "perce_table1_references sound": (0, 6 * 3, 0),
    "perce_lr_robustness sound": (90, 90, 0),
    "perce_clip sound": (27 * 3, 27 * 3, 0),
    "perce_cross_task sound": (90, 90, 6 * 3 * 3),
    "perce_cross_task_llama3_8b sound": (90, 90, 6 * 3 * 3),
    "perce_aloe_transfer sound": (90, 90, 6 * 3),
    "perce_aloe_transfer_llama3_8b sound": (90, 90, 6 * 3),
    "perce_drop sound": (90, 90 + 3, 6 * 3),
    "perce_figure4 sound": (0, 0, 0),
    "nextquill_table1 sound": (39 * 3, (3 * 4 + 9 * 3) * 3, 3 * 3),
    "nextquill_table1 as_code": (3 + 2 * 3, 3 * 3 + 2 * 3, 0),
    "nextquill_table1_untrained sound": (0, 15 * 3, 0),
    "nextquill_table1_untrained as_code": (0, 15, 0),
    "nextquill_ablation sound": (12 * 3, 12 * 3, 0),
    "nextquill_ablation as_code": (4, 4 * 3, 0),
    "nextquill_figures sound": (6 * 3, 6 * 3, 0),
}
SHOWN = {
    # The numbers that the papers print for models, by reported table: rows of models x tasks.
    "perce_table1": ("perce_table1", {"Qwen3-4B": {"CE", "PerCE"}}, 3),
    "perce_lr_robustness": ("perce_table2", {"Qwen3-4B": {"CE", "PerCE"}}, 3),
    "perce_clip": ("perce_table3", {"Qwen3-4B": {"PerCE"}}, 3),
    "perce_cross_task": ("perce_table4", {"Qwen3-4B": {"CE", "PerCE"}}, 3),
    "perce_aloe_transfer": ("perce_table5", {"Qwen3-4B": {"CE", "PerCE"}}, 1),
    "perce_cross_task_llama3_8b": ("perce_table8", {"Llama3-8B": {"CE", "PerCE"}}, 3),
    "nextquill_table1": ("nextquill_table1", {"Qwen2.5-3B": {"SFT", "OPPU", "ContextSFT", "NextQuill"}}, 3),
    "nextquill_table1_untrained": (
        "nextquill_table1",
        {"Qwen2.5-3B": {"Qwen", "Contriever", "LastedK", "LLM-TRSR", "CoS"}},
        3,
    ),
    "nextquill_ablation": (
        "nextquill_table2",
        {"Qwen2.5-3B": {"Base Model", "+ CausalOnly", "+ NormOnly", "+ Full (NextQuill)"}},
        3,
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_counts_are_those_of_the_papers_tables(name: str) -> None:
    table, wanted, tasks = SHOWN[name]
    rows = [
        row
        for row in load_reported(table).spec.rows
        if row.method in wanted.get(row.model, ()) and row.setting not in ("Mean", "Variance")
    ]
    assert len(rows) * tasks == PAPERS[name][3]


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    code = cli.main(["run", *words, "--dry-run", "--json"])
    captured = capsys.readouterr()
    assert code == (2 if "not runnable: " in captured.err else 0), "as a run would be refused, or not"
    return json.loads(captured.out)["total"], captured.err


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_needs_neither_hub_nor_data(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    total, errors = plan(capsys, "--matrix", name, "--out", str(tmp_path / "run"))
    if name in PAPERS:
        assert (total["train"], total["eval"], total["after_selection"]) == PAPERS[name][:3]
        lines = errors.splitlines()
        data = [line for line in lines if line.startswith("missing: data of ")]
        assert len({line.rpartition("; ")[2] for line in data}) == len(data), "a remedy is given once"
        assert lines[-1].startswith(f"not runnable: {sum(line.startswith('missing: ') for line in lines)} ")
    assert total["reuse"] == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PROFILES)
def test_every_other_profile(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    matrix, profile = name.split()
    total, _ = plan(capsys, "--matrix", matrix, "--profile", profile, "--out", str(tmp_path / "run"))
    assert (total["train"], total["eval"], total["after_selection"]) == PROFILES[name]


def test_every_matrix_and_profile_of_a_paper_is_here() -> None:
    assert set(PAPERS) == {name for name in NAMES if name.startswith(("perce_", "nextquill_"))}
    others = {name: list(every_profile(name))[1:] for name in PAPERS}
    assert {f"{name} {one.spec.profile}" for name, rest in others.items() for one in rest} == set(PROFILES)


DOCUMENT = Path(__file__).parents[2] / "docs" / "reproduction.md"


def test_the_document_has_these_counts() -> None:
    """Its table: matrix, what it repeats, cells of the paper's table, then trainings + evaluations by profile
    (evaluations after a choice behind a second plus)."""
    found = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and (name := cells[0].strip("`")) in PAPERS:
            found[name] = cells[2:]
    assert found.keys() == PAPERS.keys()
    for name, (printed, *columns) in found.items():
        train, evaluated, after, shown = PAPERS[name]
        assert printed == str(shown or "-"), name
        wanted = {"as_paper": (train, evaluated, after)} | {
            key.split()[1]: counts for key, counts in PROFILES.items() if key.split()[0] == name
        }
        for profile, text in zip(("as_paper", "as_code", "sound"), columns, strict=True):
            assert text == (words(*wanted[profile]) if profile in wanted else "-"), (name, profile)


def words(train: int, evaluated: int, after: int) -> str:
    return " + ".join(str(count) for count in (train, evaluated, after) if count) or "3 identified"


def test_the_papers_hyperparameters() -> None:
    perce = load_matrix("perce_table1").spec.training  # App. B.1, Table 10
    assert perce["learning_rate"] == [2e-6, 5e-6, 8e-6, 2e-5, 5e-5]
    assert (perce["epochs"], perce["batch_size"], perce["warmup_ratio"]) == (3, 96, 0.04)
    for name, batch in (("perce_table1_llama3_8b", 64), ("perce_table1_qwen3_14b", 32)):
        assert load_matrix(name).spec.training == {**perce, "batch_size": batch}
    nextquill = load_matrix("nextquill_table1").spec.training  # section 4.1
    assert nextquill["learning_rate"] == 5e-6
    assert (nextquill["weight_decay"], nextquill["epochs"]) == (0.025, 5)
    assert load_matrix("nextquill_ablation").spec.training == nextquill
    assert "lora" not in nextquill  # its dropout is noise between the passes that are compared


CUT = [
    "sources=[longlamp/pag]",
    "training.learning_rate=[1e-3,1e-2]",
    "training.epochs=1",
    "tasks.longlamp/pag.persona.max_tokens=100",
    "tasks.longlamp/pag.sampling.max_new_tokens=4",
]
SMALL = {
    "perce_table1 as_paper": CUT,
    "perce_table1 sound": [*CUT, "seeds=[0]"],
    "perce_cross_task": [
        "sources=[longlamp/pag]",
        "targets=[longlamp/pag]",
        "training.learning_rate=1e-3",
        "training.epochs=1",
        "tasks.longlamp/pag.persona.max_tokens=100",
        "tasks.longlamp/pag.sampling.max_new_tokens=4",
    ],
    "nextquill_table1": [
        "trainers=[sft, {name: ce, training: {per_user: true}}, nextquill]",
        "baseline=sft",
        "sources=[reviews/books]",
        "targets=[reviews/books, {task: reviews/books, as: without history, persona.max_tokens: 1}]",
        "training.epochs=1",
        "tasks.reviews/books.persona.max_tokens=100",
        "tasks.reviews/books.sampling.max_new_tokens=4",
    ],
    "nextquill_table1_untrained": [
        f"tasks.reviews/{name}.{key}"
        for name in ("books", "movies_tv", "cds")
        for key in (
            "persona.encoder={tiny}",
            "persona.summary.model={tiny}",
            "persona.summary.max_new_tokens=4",
            "persona.summary.item_words=20",
            "persona.max_tokens=100",
            "sampling.max_new_tokens=4",
        )
    ],
}
"""Matrices of the papers, cut for a model of a few thousand weights: by name, what is set."""
CELLS = {
    "perce_table1 as_paper": 2 * 2 * 2,
    "perce_table1 sound": 2 * 2 * 2 + 2,
    "perce_cross_task": 2 + 2,
    "nextquill_table1": 3 + 3 * 2,
    "nextquill_table1_untrained": 15,
}


@pytest.mark.parametrize("name", SMALL)
def test_a_paper_matrix_runs_small_on_local_data(
    name: str,
    real_data: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    data = f"longlamp={real_data / 'longlamp'}"
    if name.startswith("nextquill"):
        data = f"reviews={prepare(Request('reviews', real_data / 'amazon_reviews', tmp_path / 'rows'))[0]}"
    sets = [
        f"models=[{tiny_model_dir}]",
        *(text.format(tiny=tiny_model_dir) if "{tiny}" in text else text for text in SMALL[name]),
    ]
    matrix, *profile = name.split()
    words = [
        "--matrix",
        matrix,
        *(word for one in profile for word in ("--profile", one)),
        "--out",
        str(tmp_path / "run"),
        "--limit",
        "2",
        "--data",
        data,
        "--json",
    ]
    assert cli.main(["run", *words, *(word for text in sets for word in ("--set", text))]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["done"], found["failed"]) == (CELLS[name], 0)
