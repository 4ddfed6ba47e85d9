"""Pages of trainers and identifiers: what their files say, read without import, and what records show."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench.site.load import load
from perbench.site.methods import MethodPage, methods_of
from perbench.site.plugin_text import PluginText, read_plugin
from perbench.site.view import build_view
from perbench.store import Labels
from tests.site.pages import Site, rows_of, site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench

HEAVY = '''"""Heavy: cross-entropy with weights.

It was never published.
"""

import a_package_that_is_not_installed
from typing import Annotated, ClassVar, Literal


class Helper:
    other: int = 3


class Heavy(a_package_that_is_not_installed.Trainer):
    """sum_i w_i (-log P(y_i)), w_i = clip(r_i,
    low, high) <b>(Eq. 7)</b>.

      indented: as it is
    """

    counterfactual = "no_grad"
    factual: ClassVar[bool] = True
    _hidden: int = 1

    low: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The least
    weight."""
    scale: Literal["log", "ratio"] = "log"
    on: bool = False
    steps: list[int]

    def loss(self, batch):
        return batch
'''


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trainer that cannot be imported here."""
    file = tmp_path / "root" / "trainers" / "heavy.py"
    file.parent.mkdir(parents=True)
    file.write_text(HEAVY)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "root"))
    return file


def text_of(kind: str, name: str) -> PluginText:
    found = read_plugin(kind, name)
    assert found is not None
    return found


def train(bench: Bench, name: str, digest: str = "", seed: int = 0, **more: Any) -> str:
    """A training and its evaluation."""
    labels = Labels(model="tiny", trainer=name, source="fam/read", seed=seed, **more.pop("labels", {}))
    plugin = {"plugin": digest} if digest else {}
    inputs = {"trainer": {"name": name, "params": {}, **plugin, **more.pop("inputs", {})}}
    record = bench.cell("train", labels, inputs=inputs, **{"seconds": 75.0, **more})
    bench.evaluate(
        [0.1, 0.2, 0.3 + seed], trainer=name, source="fam/read", seed=seed, trained_by=record.identity
    )
    return record.identity


def methods(bench: Bench) -> dict[str, MethodPage]:
    return {one.name: one for one in methods_of(build_view(load([bench.path])))}


# ------------------------------------------------------------------------------------- the file


def test_a_file_is_read_without_import(heavy: Path) -> None:
    found = text_of("trainer", "heavy")
    assert found.place == "trainers/heavy.py"
    assert found.digest == sha256(heavy.read_bytes()).hexdigest()
    assert found.summary == "Heavy: cross-entropy with weights."
    assert found.about == "It was never published."
    assert found.formula.splitlines()[0] == (
        "sum_i w_i (-log P(y_i)), w_i = clip(r_i, low, high) <b>(Eq. 7)</b>."
    )
    assert found.formula.splitlines()[-1] == "  indented: as it is"
    assert [(one.name, one.type, one.default, one.text) for one in found.settings] == [
        ("low", "float ≥ 0, < 1", "0.5", "The least\nweight."),
        ("scale", "log | ratio", "log", ""),
        ("on", "bool", "false", ""),
        ("steps", "list[int]", "", ""),
    ]
    assert found.declared == (("counterfactual", "no_grad"), ("factual", "true"))
    assert found.files == (("heavy.py", HEAVY),)


def test_built_in_methods_say_what_they_are() -> None:
    perce = text_of("trainer", "perce")
    assert "Eq. 2, 4, 5" in perce.formula
    assert [(one.name, one.default) for one in perce.settings][:2] == [
        ("clip_min", "0.8"),
        ("clip_max", "5.0"),
    ]
    assert "PIR(y_i)" in text_of("identifier", "percontrast").formula


def test_a_folder_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "root" / "trainers" / "wide"
    (folder / "parts").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Wide."""\n')
    (folder / "parts" / "one.py").write_text("x = 1\n")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "root"))
    found = text_of("trainer", "wide")
    assert (found.place, found.summary, found.formula) == ("trainers/wide/", "Wide.", "")
    assert [name for name, _ in found.files] == ["wide/__init__.py", "wide/parts/one.py"]


@pytest.mark.parametrize("text", [b"class (", b"\xff\xfe", b"x = '\x00'"])
def test_an_unreadable_file_is_as_good_as_none(heavy: Path, text: bytes) -> None:
    heavy.write_bytes(text)
    assert read_plugin("trainer", "heavy") is None


# ------------------------------------------------------------------------------------- file and records


def test_the_text_is_shown_only_if_it_is_that_of_the_records(
    bench: Bench, heavy: Path, tmp_path: Path
) -> None:
    digest = sha256(heavy.read_bytes()).hexdigest()
    train(bench, "heavy", digest)
    site = site_of(bench, out=tmp_path / "same")
    page = site.sources["methods/heavy"]
    assert "import a_package_that_is_not_installed" in page
    assert digest in page
    assert "&lt;b&gt;(Eq. 7)&lt;/b&gt;" in page
    assert "differs" not in page
    heavy.write_text(HEAVY + "# changed\n")
    page = site_of(bench, out=tmp_path / "changed").sources["methods/heavy"]
    assert "import a_package_that_is_not_installed" not in page
    assert "trainers/heavy.py differs" in page
    assert digest in page
    heavy.unlink()
    page = site_of(bench, out=tmp_path / "gone").sources["methods/heavy"]
    assert "not installed" in page
    assert "Eq. 7" not in page


def test_records_of_other_versions_are_counted(bench: Bench, heavy: Path) -> None:
    digest = sha256(heavy.read_bytes()).hexdigest()
    train(bench, "heavy", digest, 0)
    train(bench, "heavy", digest, 1)
    train(bench, "heavy", "0" * 64, 2)
    train(bench, "ce")
    found = methods(bench)["heavy"]
    assert found.digests == {digest: 2, "0" * 64: 1}
    assert found.same
    assert "1 of 3 records" in found.caveat
    assert "do not say" in methods(bench)["ce"].caveat


def test_settings_have_their_values_in_the_records(bench: Bench, heavy: Path) -> None:
    for seed, low in enumerate((0.5, 0.05, 0.5, 10)):
        train(bench, "heavy", seed=seed, inputs={"params": {"low": low, "on": True, "old": [1]}})
    found = {one.name: (one.default, used) for one, used in methods(bench)["heavy"].settings}
    assert found == {
        "low": ("0.5", ["0.05", "0.5", "10"]),
        "scale": ("log", []),
        "on": ("false", ["true"]),
        "steps": ("", []),
        "old": ("", ["[1]"]),
    }


# ------------------------------------------------------------------------------------- results


def filled(bench: Bench, tmp_path: Path) -> Site:
    log = [{"step": 1.0, "loss": 3.0}, {"step": 2.0, "loss": 4.0}, {"step": 3.0, "loss": 2.0}]
    for seed in (0, 1):
        train(bench, "ce", seed=seed, tokens={"total": 1000})
        tokens = {"total": 1000, "counterfactual": 500}
        trained = train(bench, "perce", seed=seed, training_log=log, tokens=tokens, counts={"steps": 3})
    bench.evaluate(None, trainer="perce", source="fam/read", target="fam/other", seed=1, trained_by=trained)
    bench.identify("percontrast", 0.5)
    bench.identify("word_matching", 0.25)
    return site_of(bench, out=tmp_path / "site")


def test_a_trainer_shows_its_rows_trainings_and_curves(bench: Bench, tmp_path: Path) -> None:
    site = filled(bench, tmp_path)
    page = site.pages["methods/perce"]
    (gains,) = [one for one in page.all("table") if one.attributes.get("id") == "gains"]
    rows = [row.text for row in rows_of(gains)]
    assert len(rows) == len(build_view(load([bench.path])).matrix.columns)
    assert any("failed" in row and "other" in row for row in rows)
    (trainings,) = [one for one in page.all("table") if one.attributes.get("id") == "trainings"]
    cells = [[cell.text for cell in row.elements] for row in rows_of(trainings)]
    assert [row[1:6] for row in cells] == [["tiny", str(seed), "3", "1,500", "1 min 15 s"] for seed in (0, 1)]
    links = {link.attributes["href"] for link in page.all("a")}
    linked = {f"../cells/{entry.record.identity[:16]}.html" for entry in load([bench.path]).entries}
    own = {
        f"../cells/{entry.record.identity[:16]}.html"
        for entry in load([bench.path]).entries
        if entry.record.labels.trainer == "perce"
    }
    assert links & linked == own
    assert page.all("figure")
    facts = " ".join(one.text for one in page.all("dl"))
    assert "1.50×" in facts
    assert "no gradient" in facts


def test_a_trainers_time_has_the_caveat_of_the_overview(bench: Bench) -> None:
    for seed, seconds in enumerate((50.0, 300.0)):
        train(bench, "ce", seed=seed, seconds=100.0)
        train(bench, "perce", seed=seed, seconds=seconds)
    time = next(fact for fact in methods(bench)["perce"].facts if fact.name == "Time")
    assert "0.50× to 3.00×" in time.more


def test_a_trainer_of_pairs_says_so(bench: Bench) -> None:
    for name in ("ce", "dpo"):
        train(bench, name)
    found = methods(bench)
    assert [fact.value for fact in found["dpo"].facts if fact.name == "Examples"] == ["pairs of answers"]
    assert not [fact for fact in found["ce"].facts if fact.name == "Examples"]


def test_an_identifier_shows_its_own_rows_of_the_tables(bench: Bench, tmp_path: Path) -> None:
    page = filled(bench, tmp_path).pages["methods/percontrast"]
    first = page.all("table")[1]  # below its settings
    assert "0.500" in first.text
    assert "0.250" not in first.text
    assert "word_matching" not in page.all("main")[0].text


def test_all_methods_are_listed_and_linked(bench: Bench, tmp_path: Path) -> None:
    site = filled(bench, tmp_path)
    links = [link.attributes["href"] for link in site.pages["methods"].all("main")[0].all("a")]
    assert links == [f"methods/{name}.html" for name in ("ce", "perce", "percontrast", "word_matching")]
    for name in ("index", "identification"):
        found = {link.attributes["href"] for link in site.pages[name].all("main")[0].all("a")}
        assert found & set(links), name


def test_names_from_records_stay_inside_the_folder(bench: Bench, tmp_path: Path) -> None:
    names = ["../../out", "a/b", "A", "a", "con.txt", "", "x" * 300, "é"]
    for name in names:
        train(bench, name)
    bench.identify("a", 0.5)
    found = [one.page for one in methods_of(build_view(load([bench.path])))]
    assert len({page.lower() for page in found}) == len(names) + 1
    assert {Path(page).parent.as_posix() for page in found} == {"methods"}
    assert {"methods/a.html", "methods/identifier.a.html"} <= set(found)
    site = site_of(bench, out=tmp_path / "site")
    assert {page.removesuffix(".html") for page in found} <= site.pages.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "site"]


def test_without_methods_there_is_no_page_of_them(bench: Bench, tmp_path: Path) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    site = site_of(bench, out=tmp_path / "site")
    assert "methods" not in site.pages
    assert "methods.html" not in site.sources["index"]
