"""Every task that comes with perbench loads, and its prompts say what its paper says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rank_bm25 import BM25Okapi

from perbench import plugins
from perbench.data import load_examples, spans
from perbench.lm.models import ResolvedModel, load_tokenizer
from perbench.persona.build import build_personas
from perbench.prompts.pair import build_pair
from perbench.prompts.persona import render_items
from perbench.specs.load import load_task

TASKS = sorted(name for kind, name in plugins.discover() if kind == "task")
LONGLAMP = ["longlamp/pag", "longlamp/prw", "longlamp/ptw"]


def test_the_built_in_tasks() -> None:
    assert {
        "embedded/chitchat_reply",
        "embedded/dialogue",
        "embedded/sotu_writing",
        "identification/persona_qa",
        "aloe/dialogue",
        "reviews/all",
        "reviews/books",
        "reviews/cds",
        "reviews/movies_tv",
        *LONGLAMP,
    } <= set(TASKS)


DIGESTS = {
    "embedded/chitchat_reply": {"train": "793e8a54", "test": "98d6f442"},
    "embedded/sotu_writing": {"train": "3ddc8e1b", "test": "5a4b7f78"},
}
"""Of the examples drawn: another one is another benchmark, whose results compare with none before."""


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_embedded_tasks_are_fixed_and_fit_the_demo(name: str, smollm2: ResolvedModel) -> None:
    tokenizer = load_tokenizer(smollm2.folder)
    task = load_task(name)
    users = {}
    for split in ("train", "test"):
        dataset = load_examples(task, split)  # type: ignore[arg-type]
        assert len(dataset.examples) == getattr(task.spec.examples, split)
        assert dataset.digest[:8] == DIGESTS[name][split]
        assert dataset.source["package"] == task.spec.data.requires
        users[split] = {example.user for example in dataset.examples}
        pairs = [
            build_pair(task.spec, example, tokenizer, with_response=True) for example in dataset.examples
        ]
        assert sum(pair.trimmed for pair in pairs) == 0
        lengths = [len(pair.factual) for pair in pairs]
        assert 250 < sum(lengths) / len(lengths) < 500
    assert not users["train"] & users["test"]


def test_loading_imports_neither_torch_nor_the_data_packages() -> None:
    code = (
        "import sys\n"
        "from perbench.data import load_examples\n"
        "from perbench.specs.load import load_task\n"
        "for name in ('embedded/sotu_writing', 'embedded/chitchat_reply'):\n"
        "    load_examples(load_task(name), 'test')\n"
        "print(sorted({'torch', 'transformers', 'sotu', 'chitchat_dataset', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dialogue_personas() -> None:
    task = load_task("embedded/dialogue")
    examples = load_examples(task, "test").examples
    assert len({example.user for example in examples}) == 12
    for example in examples:
        for name in ("profile", "personality"):
            assert 3 <= example.extra[name].count(". ") + 1 <= 4
    assert task.spec.dialogue is not None
    assert not task.spec.dialogue.judge.calibrated


def test_persona_qa_is_sound_and_fixed() -> None:
    task = load_task("identification/persona_qa")
    assert {split: len(rows) for split, rows in spans.check(task).items()} == {"dev": 165, "test": 321}
    digests = {split: load_examples(task, split).digest[:8] for split in ("train", "test")}  # type: ignore[arg-type]
    assert digests == {"train": "0a67d17a", "test": "26fbf41b"}


# ---------------------------------------------------------------- LongLaMP


@pytest.mark.parametrize("name", LONGLAMP)
@pytest.mark.parametrize("form", ["perce", "official"])
def test_longlamp_from_a_local_folder(name: str, form: str, real_data: Path, smollm2: ResolvedModel) -> None:
    tokenizer = load_tokenizer(smollm2.folder)
    task = load_task(name, data={"longlamp": real_data / "longlamp"}, overrides={"prompt": form})
    for split in ("train", "test"):
        dataset = load_examples(task, split)  # type: ignore[arg-type]
        assert dataset.skipped == {}
        for example in dataset.examples[:20]:
            pair = build_pair(task.spec, example, tokenizer, with_response=True)
            assert pair.kept + pair.trimmed == min(4, len(example.persona))
            assert pair.kept > 0
            assert example.question in tokenizer.decode(pair.factual)
            assert example.question in tokenizer.decode(pair.counterfactual)


OFFICIAL = {
    "longlamp/pag": (
        {"abstract": "A", "title": "T", "id": "1", "year": 2000},
        '"A" is the abstract for the title "T"',
        "X, and Y. Use the above abstracts as context to understand the style and language of the user and, "
        "Q",
    ),
    "longlamp/prw": (
        {"overall": "5.0", "description": "D", "summary": "S", "reviewText": "R"},
        '"5.0" is a rating for the product with description "D". "S" is summary for "R" ',
        "X, and Y. Following the given patterns Q",
    ),
    "longlamp/ptw": (
        {"author": "a", "content": "C", "summary": "S", "id": "1"},
        '"S" is a summary for "C" ',
        "X, and Y. Following the given patterns, Q",
    ),
}


@pytest.mark.parametrize("name", LONGLAMP)
def test_longlamp_official_form(name: str) -> None:
    form = load_task(name).spec.prompts["official"]
    item, rendered, whole = OFFICIAL[name]
    assert render_items(form.item, [item]) == [rendered]
    assert form.user.format(persona=form.join.join("XY"), question="Q") == whole
    assert form.system is None


CORPUS = {
    "longlamp/pag": lambda item: f"{item['title']} {item['abstract']}",
    "longlamp/prw": lambda item: (
        f"{item['overall']} {item['summary']} {item['description']} {item['reviewText']}"
    ),
    "longlamp/ptw": lambda item: f"{item['summary']} {item['content']}",
}
"""The texts that LongLaMP's code ranks (topic writing's `input` and `output`, which are now called so)."""


@pytest.mark.parametrize("form", ["perce", "official"])
@pytest.mark.parametrize("name", LONGLAMP)
def test_longlamp_ranks_the_texts_of_its_own_code(name: str, form: str, real_data: Path) -> None:
    overrides = {"prompt": form, "persona": {"retrieve": "bm25", "k": 3, "query_after": "items:"}}
    task = load_task(name, data={"longlamp": real_data / "longlamp"}, overrides=overrides)
    examples = load_examples(task, "test").examples[:20]
    no_models: Any = None
    for before, after in zip(examples, build_personas(task.spec, examples, no_models).examples, strict=True):
        query = before.question.partition("items:")[2].strip() or before.question
        bm25 = BM25Okapi([CORPUS[name](item).split() for item in before.persona])
        scores = bm25.get_scores(query.split())
        order = sorted(range(len(scores)), key=lambda place: -scores[place])[:3]
        assert after.persona == tuple(before.persona[place] for place in order)


@pytest.mark.parametrize("name", LONGLAMP)
def test_longlamp_perce_form_is_the_papers(name: str, real_data: Path) -> None:
    """App. D.1, word for word: the paper's text lies beside the real data."""
    paper = (real_data.parent / "papers" / "percontrast_perce_v1.txt").read_text(encoding="utf-8")
    form = load_task(name).spec.prompts["perce"]
    assert form.system is not None
    for paragraph in form.system.split("\n\n"):
        assert paragraph == "{persona}" or paragraph in paper
    assert form.user == "{question}"


def test_topic_writing_reads_older_files(tmp_path: Path) -> None:
    row = {
        "author": "a",
        "input": "Generate the content for a post",
        "output": "text",
        "profile": [{"input": "S", "output": "C"}],
    }
    folder = tmp_path / "topic_writing_user"
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps(row))
    task = load_task("longlamp/ptw", data={"longlamp": tmp_path})
    (example,) = load_examples(task, "test").examples
    assert render_items(task.spec.prompts["official"].item, example.persona) == ['"S" is a summary for "C" ']
