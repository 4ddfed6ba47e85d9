"""The engines of a run: checkpoints are swapped, and nobody else sees them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.engines import EnginePool
from perbench.specs.matrices import load_matrix
from tests.matrix.conftest import Root


@pytest.fixture
def catalogue(root: Root) -> Catalogue:
    return Catalogue(load_matrix(root.matrix()).spec, {}, None)


def other_weights(source: Path, folder: Path) -> Path:
    from perbench.lm.models import load_causal_lm

    model = load_causal_lm(source, "float32")
    model.model.embed_tokens.weight.data.mul_(0.5)
    model.save_pretrained(folder)
    return folder


def test_helpers_never_serve_the_subjects_checkpoint(
    catalogue: Catalogue, tiny_model_dir: Path, tmp_path: Path
) -> None:
    checkpoint = other_weights(tiny_model_dir, tmp_path / "trained")
    pool, model = EnginePool(catalogue), catalogue.model("tiny")
    prompt, response = [[5, 6, 7]], [[8, 9]]

    def scores() -> tuple[np.ndarray, np.ndarray]:
        subject, judge = (engine.score(prompt, response)[0] for engine in (pool.subject, pool.named("tiny")))
        return subject, judge

    base = pool.serve(model, None)
    subject, judge = scores()
    np.testing.assert_array_equal(subject, judge)
    assert pool.named("tiny") is pool.named("tiny") is not base
    assert pool.serve(model, checkpoint) is base  # the same engine, other weights
    changed, judge_after = scores()
    assert np.abs(changed - subject).max() > 1e-3
    np.testing.assert_array_equal(judge_after, judge)
    pool.serve(model, None)
    np.testing.assert_array_equal(scores()[0], subject)


def test_a_checkpoint_that_does_not_load_never_leaves_the_wrong_weights(
    catalogue: Catalogue, tiny_model_dir: Path, tmp_path: Path
) -> None:
    checkpoint = other_weights(tiny_model_dir, tmp_path / "trained")
    pool, model = EnginePool(catalogue), catalogue.model("tiny")
    pool.serve(model, None)
    base = pool.subject.score([[5]], [[6]])[0]
    pool.serve(model, checkpoint)
    with pytest.raises(PerbenchError, match="neither"):
        pool.serve(model, tmp_path)
    pool.serve(model, None)
    np.testing.assert_array_equal(pool.subject.score([[5]], [[6]])[0], base)


def test_the_scorer_is_the_untrained_model_unless_another_is_named(
    root: Root, tiny_model_dir: Path, tmp_path: Path
) -> None:
    catalogue = Catalogue(load_matrix(root.matrix()).spec, {}, None)
    checkpoint = other_weights(tiny_model_dir, tmp_path / "trained")
    pool, model = EnginePool(catalogue), catalogue.model("tiny")
    base = pool.serve(model, None)
    assert pool.scorer(None) is base
    before = pool.scorer(None).score([[5, 6]], [[7, 8]])[0]
    pool.serve(model, checkpoint)
    np.testing.assert_array_equal(pool.scorer(None).score([[5, 6]], [[7, 8]])[0], before)
    assert pool.scorer(None) is pool.scorer(None) is not pool.subject
    assert pool.scorer("tiny") is pool.named("tiny")


def test_a_model_that_changed_since_the_plan_serves_no_cell(
    root: Root, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    root.write("leaderboard/models/tiny", {"summary": "tiny", "path": str(folder)})
    catalogue = Catalogue(load_matrix(root.matrix()).spec, {}, None)
    model = catalogue.model("tiny")
    EnginePool(catalogue).serve(model, None)
    other_weights(tiny_model_dir, folder)
    with pytest.raises(PerbenchError, match=r"model tiny: its files.*changed after the run was planned"):
        EnginePool(catalogue).serve(model, None)


def test_the_untrained_model_scores_once_for_all_rows_of_a_model(
    catalogue: Catalogue, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    checkpoint = other_weights(tiny_model_dir, tmp_path / "trained")
    model, prompts, texts = catalogue.model("tiny"), [[5, 6, 7], [5, 6], [5, 6, 7]], [[8, 9], [9], [8, 9]]
    gold = EnginePool(catalogue).serve(model, None).score(prompts, texts)

    pool = EnginePool(catalogue)
    pool.serve(model, checkpoint)
    assert not pool.untrained
    trained = pool.subject.score(prompts, texts)
    found = pool.base_logp(prompts, texts)  # meanwhile without the trained weights
    for one, other in zip(found, gold, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for one, other in zip(pool.subject.score(prompts, texts), trained, strict=True):
        np.testing.assert_array_equal(one, other)

    def refuse(*given: object) -> None:
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(pool.subject, "load_adapter", refuse)
    monkeypatch.setattr(pool.subject, "score", refuse)
    for one, other in zip(pool.base_logp(prompts, texts), found, strict=True):
        np.testing.assert_array_equal(one, other)
    again = EnginePool(catalogue)
    again.serve(model, None)
    assert again.untrained
    monkeypatch.setattr(again.subject, "score", refuse)
    for one, other in zip(again.base_logp(prompts, texts), found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_failure_of_the_untrained_model_never_leaves_it_in_place_of_the_trained(
    catalogue: Catalogue, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    checkpoint = other_weights(tiny_model_dir, tmp_path / "trained")
    model, pool = catalogue.model("tiny"), EnginePool(catalogue)
    pool.serve(model, checkpoint)
    trained = pool.subject.score([[5]], [[6]])[0]
    with pytest.raises(PerbenchError, match="prompt 0 is empty"):
        pool.base_logp([[]], [[6]])
    pool.serve(model, checkpoint)
    np.testing.assert_array_equal(pool.subject.score([[5]], [[6]])[0], trained)
