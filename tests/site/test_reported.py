"""Reported numbers: typed right and whole, and shown only beside what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench import plugins
from perbench.contracts.section import Table, Value
from perbench.errors import SpecError
from perbench.site.data import sections_of
from perbench.site.load import load
from perbench.site.terminal import print_results
from perbench.site.view import build_view
from perbench.specs.load import load_reported
from perbench.store import Metric
from tests.site.pages import cells_of, site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench

SIZES = {
    "perce_table1": (11, 4),
    "perce_table2": (14, 3),
    "perce_table3": (9, 3),
    "perce_table4": (9, 3),
    "perce_table5": (9, 6),
    "perce_table6": (2, 4),
    "perce_table7": (2, 4),
    "perce_figure4": (3, 3),
    "perce_table8": (9, 3),
    "perce_table9": (9, 6),
    "nextquill_table1": (9, 12),
    "nextquill_table2": (4, 12),
    "nextquill_table3": (4, 12),
    "lamp_pplug_table1": (5, 22),
}
# A sample typed by hand, apart from the files: table, row, column (and metric), printed number.
GOLD = """
perce_table1 | GPT-4o, — | Personalized Abstract Generation | 0.2904
perce_table1 | GPT-4o-mini, — | Personalized Topic Writing | 0.1882
perce_table1 | GPT-4o-mini, — | Average | 0.2247
perce_table1 | Qwen3-4B, CE | Personalized Abstract Generation | 0.3727
perce_table1 | Qwen3-4B, PerCE | Personalized Review Writing | 0.2668
perce_table1 | Qwen3-4B, Gain | Personalized Review Writing | +40.57%
perce_table1 | Qwen3-4B, Gain | Average | +15.08%
perce_table1 | Qwen3-14B, CE | Personalized Topic Writing | 0.1805
perce_table1 | Qwen3-14B, PerCE | Average | 0.2959
perce_table1 | Qwen3-14B, Gain | Personalized Abstract Generation | -2.07%
perce_table1 | Llama3-8B, CE | Personalized Review Writing | 0.2311
perce_table1 | Llama3-8B, PerCE | Personalized Abstract Generation | 0.3756
perce_table2 | Qwen3-4B, PerCE, LR 2e-6 | PTW | 0.1778
perce_table2 | Qwen3-4B, PerCE, LR 5e-6 | PRW | 0.2590
perce_table2 | Qwen3-4B, PerCE, LR 5e-5 | PAG | 0.3585
perce_table2 | Qwen3-4B, PerCE, Variance | PRW | 0.6231
perce_table2 | Qwen3-4B, CE, LR 5e-6 | PAG | 0.3728
perce_table2 | Qwen3-4B, CE, LR 8e-6 | PTW | 0.1379
perce_table2 | Qwen3-4B, CE, LR 5e-5 | PRW | 0.1722
perce_table2 | Qwen3-4B, CE, Mean | PTW | 0.1507
perce_table2 | Qwen3-4B, CE, Variance | PAG | 44.65
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.2, Clip Max 8 | PAG | 0.3605
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.5, Clip Max 2 | PTW | 0.2096
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.5, Clip Max 5 | PRW | 0.2680
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.8, Clip Max 2 | PAG | 0.3540
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.8, Clip Max 5 | PRW | 0.2668
perce_table3 | Qwen3-4B, PerCE, Clip Min 0.8, Clip Max 8 | PTW | 0.2082
perce_table4 | Qwen3-4B, CE, longlamp/pag | PRW | 0.1744
perce_table4 | Qwen3-4B, PerCE, longlamp/pag | PTW | 0.1657
perce_table4 | Qwen3-4B, CE, longlamp/prw | PAG | 0.2055
perce_table4 | Qwen3-4B, Gain, source PRW | PAG | +60.10%
perce_table4 | Qwen3-4B, CE, longlamp/ptw | PRW | 0.1443
perce_table4 | Qwen3-4B, Gain, source PTW | PRW | +49.9%
perce_table5 | Qwen3-4B, CE, longlamp/pag | k=9 | 2.33
perce_table5 | Qwen3-4B, Gain, source PAG | k=6 | 0.00
perce_table5 | Qwen3-4B, PerCE, longlamp/prw | k=8 | 2.65
perce_table5 | Qwen3-4B, CE, longlamp/prw | Average | 1.27
perce_table5 | Qwen3-4B, CE, longlamp/ptw | k=10 | 1.12
perce_table5 | Qwen3-4B, PerCE, longlamp/ptw | k=7 | 2.90
perce_table5 | Qwen3-4B, Gain, source PTW | Average | +1.69
perce_table6 | Qwen3-4B, CE | PTW | 61.89
perce_table6 | Qwen3-4B, CE | Average | 60.16
perce_table6 | Qwen3-4B, PerCE | PAG | 67.41
perce_table6 | Qwen3-4B, PerCE | PRW | 71.42
perce_table8 | Llama3-8B, CE, longlamp/pag | PTW | 0.1590
perce_table8 | Llama3-8B, Gain, source PAG | PRW | +31.02%
perce_table8 | Llama3-8B, CE, longlamp/prw | PAG | 0.1827
perce_table8 | Llama3-8B, PerCE, longlamp/prw | PTW | 0.2032
perce_table8 | Llama3-8B, CE, longlamp/ptw | PRW | 0.2225
perce_table8 | Llama3-8B, Gain, source PTW | PAG | +47.98%
perce_table9 | Llama3-8B, CE, longlamp/pag | k=9 | 1.98
perce_table9 | Llama3-8B, PerCE, longlamp/pag | k=7 | 2.40
perce_table9 | Llama3-8B, CE, longlamp/prw | k=8 | 1.00
perce_table9 | Llama3-8B, Gain, source PRW | k=6 | +1.86
perce_table9 | Llama3-8B, PerCE, longlamp/ptw | k=6 | 3.08
perce_table9 | Llama3-8B, Gain, source PTW | k=9 | +1.70
perce_table9 | Llama3-8B, PerCE, longlamp/ptw | Average | 2.98
perce_table7 | Qwen3Tokenizer, w. Persona, with persona | PAG | 975.1
perce_table7 | Qwen3Tokenizer, w. Persona, with persona | PRW | 2062.6
perce_table7 | Qwen3Tokenizer, w.o. Persona, without | PRW | 168.9
perce_table7 | Qwen3Tokenizer, w.o. Persona, without | Average | 96.1
perce_figure4 | Qwen3-30B-A3B-Instruct-2507, Word-matching | Synthetic Q&A, recall (%) | 26.5
perce_figure4 | Qwen3-30B-A3B-Instruct-2507, LLM-as-judge | Synthetic Q&A, F1 (%) | 83.1
perce_figure4 | Qwen3-30B-A3B-Instruct-2507, PerContrast | Synthetic Q&A, precision (%) | 80.7
perce_figure4 | Qwen3-30B-A3B-Instruct-2507, PerContrast | Synthetic Q&A, F1 (%) | 87.8
nextquill_table1 | Qwen2.5-3B, Qwen | CDs & Vinyl, BLEU | 0.0330
nextquill_table1 | Qwen2.5-3B, Contriever | Movies & TV, ROUGE-1 | 0.0516
nextquill_table1 | Qwen2.5-3B, LastedK | Books, BLEU | 0.3629
nextquill_table1 | Qwen2.5-3B, LLM-TRSR | Movies & TV, METEOR | 0.0756
nextquill_table1 | Qwen2.5-3B, CoS | CDs & Vinyl, ROUGE-L | 0.0877
nextquill_table1 | Qwen2.5-3B, SFT | Movies & TV, BLEU | 0.1409
nextquill_table1 | Qwen2.5-3B, OPPU | Books, METEOR | 0.1013
nextquill_table1 | Qwen2.5-3B, ContextSFT | Books, METEOR | 0.2158
nextquill_table1 | Qwen2.5-3B, NextQuill | CDs & Vinyl, ROUGE-1 | 0.1976
nextquill_table2 | Qwen2.5-3B, Base Model | Books, RI of ROUGE-1 (%) | -
nextquill_table2 | Qwen2.5-3B, Base Model | CDs & Vinyl, ROUGE-L | 0.0314
nextquill_table2 | Qwen2.5-3B, + CausalOnly | Movies & TV, RI of ROUGE-1 (%) | 162.7↑
nextquill_table2 | Qwen2.5-3B, + NormOnly | Movies & TV, RI of ROUGE-L (%) | 212.4↑
nextquill_table2 | Qwen2.5-3B, + Full (NextQuill) | Books, RI of ROUGE-L (%) | 261.8↑
nextquill_table3 | Qwen2.5-3B, Base Model | Movies & TV, METEOR | 0.0722
nextquill_table3 | Qwen2.5-3B, + CausalOnly | Books, BLEU | 2.5619
nextquill_table3 | Qwen2.5-3B, + NormOnly | Books, METEOR | 0.2786
nextquill_table3 | Qwen2.5-3B, + NormOnly | CDs & Vinyl, BLEU | 1.9861
nextquill_table3 | Qwen2.5-3B, + Full (NextQuill) | Movies & TV, ROUGE-L | 0.1041
lamp_pplug_table1 | FlanT5-XXL, no profile | LaMP-1, valid, accuracy | 0.498
lamp_pplug_table1 | FlanT5-XXL, no profile | LaMP-3, test, RMSE | 0.611
lamp_pplug_table1 | FlanT5-XXL, BM25 | LaMP-2, test, F1 | 0.306
lamp_pplug_table1 | FlanT5-XXL, BM25 | LaMP-4, valid, ROUGE-L | 0.175
lamp_pplug_table1 | FlanT5-XXL, Recency | LaMP-7, test, ROUGE-1 | 0.444
lamp_pplug_table1 | FlanT5-XXL, Contriever | LaMP-5, test, ROUGE-L | 0.433
lamp_pplug_table1 | FlanT5-XXL, one LoRA per user | LaMP-2, test, accuracy | 0.360
lamp_pplug_table1 | FlanT5-XXL, one LoRA per user | LaMP-7, valid, ROUGE-1 | -
"""


def numbers(name: str) -> dict[tuple[str, str], str]:
    """What a table prints, by row and column in words."""
    table = load_reported(name).spec
    alone = len({column.metric for column in table.columns}) == 1
    columns = [one.name if alone else f"{one.name}, {one.metric}" for one in table.columns]
    found = {}
    for row in table.rows:
        source = row.trained_on if row.trained_on not in ("own", "nothing") else None
        head = ", ".join(filter(None, (row.model, row.method, source, row.setting)))
        found |= {(head, column): text for column, text in zip(columns, row.printed, strict=True)}
    return found


@pytest.mark.parametrize("name", SIZES)
def test_a_table_is_whole_and_its_numbers_are_those_of_the_paper(name: str) -> None:
    found = numbers(name)
    rows, columns = SIZES[name]
    assert len(found) == rows * columns
    gold = [line.split(" | ") for line in GOLD.strip().splitlines() if line.startswith(f"{name} ")]
    assert len(gold) >= 4
    for _, row, column, printed in gold:
        assert found[row, column] == printed, (row, column)


def test_all_tables_are_there_and_name_what_there_is() -> None:
    assert set(plugins.names("reported")) >= SIZES.keys()
    for name in SIZES:
        table = load_reported(name).spec
        tasks = {task for column in table.columns for task in column.tasks}
        tasks |= {row.trained_on for row in table.rows if row.trainer and row.trained_on != "own"}  # type: ignore[misc]
        assert tasks - set(plugins.names("task")) <= {"aloe/dialogue_official"}  # which data prepare writes
        assert {row.trainer for row in table.rows if row.trainer} <= set(plugins.names("trainer"))


def averages(name: str) -> list[tuple[float, float]]:
    """Printed averages with those of the printed numbers."""
    rows = [row.printed for row in load_reported(name).spec.rows if row.method != "Gain"]
    return [(float(last), sum(map(float, others)) / len(others)) for *others, last in rows]


@pytest.mark.parametrize(
    ("name", "half"), [("perce_table1", 6e-5), ("perce_table6", 6e-3), ("perce_table7", 6e-2)]
)
def test_printed_averages_are_those_of_the_printed_numbers(name: str, half: float) -> None:
    assert all(printed == pytest.approx(mean, abs=half) for printed, mean in averages(name))


# ---------------------------------------------------------------- the file

BARE = """summary: Ours
paper: Ours
title: A paper
version: first
table: "3"
caption: What it shows.
columns:
  - {name: Writing, tasks: [fam/write], metric: ROUGE-L, measured: rougeL}
  - {name: Turns, tasks: [fam/talk], metric: score, measured: rating, turn: 2}
  - {name: Average, metric: mixed}
rows:
  - {model: Big, method: —, trained_on: nothing, values: 0.50 2.00 -}
  - {model: Big, method: CE, trainer: ce, trained_on: own, values: 0.60 3.00 1.80}
  - {model: Big, method: CE, trainer: ce, trained_on: fam/read, values: 0.61 3.10 1.85}
  - {model: Big, method: Gain, metric: gain of X, values: +5.0% -2% 0.1}
differs: [other prompts]
notes: [the second row is blurred]
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("0.50 2.00 -", "0.50 2.00", 12, "2 values for 3 columns"),
        ("0.50 2.00 -", "0.5o 2.00 -", 12, "'0.5o'"),
        ("name: Turns", "name: Writing", 9, ""),
        ("measured: rating", "mesured: rating", 9, "'measured'"),
        ("trainer: ce, trained_on: own", "trained_on: own", 13, "trainer"),
        ("trained_on: fam/read", "trained_on: own", 14, "a second row Big CE"),
        ("differs: [other prompts]", "differs: []", 16, "differs"),
    ],
)
def test_faults_have_their_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    text = BARE.replace(old, new).replace(
        "metric: score", "metric: ROUGE-L" if "Writing" in new else "metric: score"
    )
    file = tmp_path / "ours.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_reported(file)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (file, line)
    assert said in problem.message


# ---------------------------------------------------------------- the section


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "root" / "leaderboard" / "reported"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text(BARE, encoding="utf-8")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "root"))
    return folder


def reported(bench: Bench) -> list[Table]:
    sections = {one.name: one for one in build_view(load([bench.path])).sections}
    return list(sections["reported"].tables) if "reported" in sections else []


def drawn(table: Table) -> Mapping[tuple[str, str | None, bool], list[float | str | None]]:
    return {
        (head.name, head.trained_on, bool(head.reported)): [
            value.value if isinstance(value, Value) else value for value in values
        ]
        for head, values in table.rows
    }


def test_without_such_a_target_nothing_is_shown(root: Path, bench: Bench) -> None:
    bench.evaluate([0.5], target="fam/else")
    assert reported(bench) == []


def test_reported_rows_stand_beside_measured_ones(root: Path, bench: Bench) -> None:
    bench.evaluate([0.25], target="fam/write")
    bench.evaluate([0.5], trainer="ce", source="fam/write")
    bench.evaluate([0.75], trainer="ce", source="fam/read")
    bench.evaluate([0.9], trainer="perce", source="fam/write")  # of which the paper has no row
    (table,) = reported(bench)
    assert [column.name for column in table.columns] == ["Writing"]
    assert drawn(table) == {
        ("Big", "", True): [0.5],
        ("CE", None, True): [0.6],
        ("CE", "fam/read", True): [0.61],
        ("Gain", None, True): [5.0],
        ("base model", "", False): [0.25],
        ("ce", None, False): [0.5],
        ("ce", "fam/read", False): [0.75],
    }
    assert {head.reported for head, _ in table.rows} == {"Ours Table 3", ""}
    assert [text.partition(": ")[2] for text in table.remarks] == [
        "other prompts",
        "the second row is blurred",
    ]


def test_counterparts_are_of_the_profile_that_the_table_names(root: Path, bench: Bench) -> None:
    named = BARE.replace("differs:", "profile: as_paper\ndiffers:")
    (root / "ours.yaml").write_text(named, encoding="utf-8")
    bench.evaluate([0.25], target="fam/write")
    identity = bench.evaluate([0.5], trainer="ce", source="fam/write").identity
    found = load([bench.path])
    for profiles, shown in ((("sound",), False), (("sound", "as_paper"), True), ((), True)):
        sections = build_view(replace(found, profiles={identity: profiles})).sections
        (section,) = [one for one in sections if one.name == "reported"]
        assert (("ce", None, False) in drawn(section.tables[0])) is shown
        assert ("base model", "", False) in drawn(section.tables[0])


def test_suspect_numbers_are_marked(root: Path, bench: Bench) -> None:
    marked = BARE.replace("values: 0.60", "suspect: {Writing: as in Table 2}, values: 0.60")
    (root / "ours.yaml").write_text(marked, encoding="utf-8")
    bench.evaluate([0.25], target="fam/write")
    (table,) = reported(bench)
    flags = [[flag.text for flag in value.flags] for _, (value,) in table.rows if isinstance(value, Value)]
    assert flags[:3] == [[], ["suspect: as in Table 2"], []]
    wrong = root / "wrong.yaml"
    wrong.write_text(BARE.replace("values: 0.60", "suspect: {Wri: typo}, values: 0.60"), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_reported(wrong)
    assert "'Wri'" in caught.value.problems[0].message


def test_turns_and_averages(root: Path, bench: Bench) -> None:
    talked = {"headline": "rating", "turns": (1.0, 2.5)}
    bench.evaluate([0.25], trainer="ce", source="fam/write")
    bench.evaluate([2.0], trainer="ce", source="fam/talk", target="fam/talk", **talked)  # type: ignore[arg-type]
    (table,) = reported(bench)
    assert [column.name for column in table.columns] == ["Writing", "Turns", "Average"]
    found = drawn(table)
    assert found["Big", "", True] == [0.5, 2.0, "-"]
    assert found["ce", None, False] == [0.25, 2.5, "—"]


def test_variants_of_a_target_have_rows_of_their_own(root: Path, bench: Bench) -> None:
    metrics = {"rougeL": Metric(value=0.5, n=3, signature="r")}
    bench.evaluate([0.5], metrics=metrics)
    bench.evaluate([0.5], metrics=metrics, target="fam/write (without history)")
    (table,) = reported(bench)
    assert [head.detail for head, _ in table.rows if not head.reported] == ["", "without history"]


def test_page_terminal_and_json_say_which_is_which(
    root: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = bench.evaluate([0.25]).identity
    (table,) = site_of(bench, out=tmp_path / "site").pages["reported"].all("table")
    rows = table.all("tbody")[0].all("tr")
    told = ["reported" in (row.attributes.get("class") or "").split() for row in rows]
    assert told == ["reported, Ours Table 3" in row.text for row in rows] == [True, True, True, True, False]
    assert [bool(row.all("a")) for row in rows] == [False, False, False, False, True]
    assert cells_of(table)[0][1] == "0.50"  # to the digit as printed
    assert cells_of(table)[0][0] == "Big not trained reported, Ours Table 3"
    assert "other prompts" in table.within("block").text
    print_results(bench.path)
    out = " ".join(capsys.readouterr().out.split())
    assert "only on the page: Ours Table 3" in out
    assert "0.60" not in out
    (data,) = [one for one in sections_of(build_view(load([bench.path]))) if one["name"] == "reported"]
    first, *_, last = data["tables"][0]["rows"]
    assert (first["reported"], first["values"][0]["cells"]) == ("Ours Table 3", [])
    assert (last["reported"], last["values"][0]["cells"]) == ("", [identity])
