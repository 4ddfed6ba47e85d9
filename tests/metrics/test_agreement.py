"""ROUGE, METEOR and BLEU against their libraries' documented numbers, and against `evaluate`'s way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from perbench.contracts.metric import Texts
from perbench.metrics import score_texts
from perbench.text import wordnet
from perbench.text.sentences import split_sentences

PAIRS = 200
TEXT = (
    "the a cat cats dog sat sits on under mat house river over quick brown fox jumps jumped lazy , . ! ? "
    "don't it's 3.5 co-op U.S. naïve Ünder 2,000 and or not very good bad better hound woof"
)
WORDS = TEXT.split()


def random_pairs(count: int) -> list[tuple[str, str]]:
    """Predictions and references that share much; some empty, some equal. Every metric can read every
    reference, what it cannot read being missing here and 0 there."""
    draw = random.Random(7)
    pairs = []
    for number in range(count):
        reference = ["the", "cat", *(draw.choice(WORDS) for _ in range(draw.randint(0, 40)))]
        prediction = [draw.choice(WORDS) if draw.random() < 0.4 else word for word in reference]
        del prediction[draw.randint(0, len(prediction)) :]
        pairs.append((" ".join(reference if number % 50 == 0 else prediction), " ".join(reference)))
    return pairs


def texts(pairs: list[tuple[str, str]]) -> Texts:
    predictions, references = [p for p, _ in pairs], [r for _, r in pairs]
    return Texts(predictions, references, [f"u{i}" for i in range(len(pairs))], [False] * len(pairs))


def single(name: str, prediction: str, reference: str) -> float:
    found = score_texts([name], texts([(prediction, reference)])).per_sample[name][0]
    assert found is not None
    return found


def test_rouge_scores_of_the_librarys_own_tests() -> None:
    """google-research, rouge/rouge_scorer_test.py: testRouge1, testRouge2, testRougeLConsecutive."""
    assert single("rouge1", "testing one two", "testing") == pytest.approx(1 / 2)
    assert single("rouge2", "testing one two", "testing one") == pytest.approx(2 / 3)
    assert single("rougeL", "testing one two", "testing one") == pytest.approx(4 / 5)
    assert single("rougeL", "testing one two", "testing two") == pytest.approx(4 / 5)


def test_bleu_of_the_librarys_readme() -> None:
    """sacrebleu's README has two references; with its first alone, the library's own function decides."""
    import sacrebleu

    system = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
    first = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
    second = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
    assert round(sacrebleu.corpus_bleu(system, [first, second]).score, 2) == 48.53  # as its README says
    found = score_texts(["bleu"], texts(list(zip(system, first, strict=True)))).metrics["bleu"]
    assert found.value == pytest.approx(sacrebleu.corpus_bleu(system, [first]).score)


# ---------------------------------------------------------------- 200 random pairs
# The metrics of the library `evaluate` are scripts on a hub. Each is one call of the same libraries, which is
# repeated here as the script has it. NLTK's documented METEOR stands in test_meteor.py.


def test_rouge_as_evaluate_computes_it() -> None:
    """evaluate's metrics/rouge/rouge.py: RougeScorer.score(target, prediction), fmeasure of each pair with
    use_aggregator=False; by default the median of 1,000 resamples' means, which is drawn at random."""
    import numpy as np
    from rouge_score import rouge_scorer, scoring

    names = ["rouge1", "rouge2", "rougeL"]
    pairs = random_pairs(PAIRS)
    found = score_texts(names, texts(pairs))
    scorer = rouge_scorer.RougeScorer(rouge_types=names, use_stemmer=False)
    rows = [scorer.score(reference, prediction) for prediction, reference in pairs]
    np.random.seed(0)
    aggregator = scoring.BootstrapAggregator()
    for row in rows:
        aggregator.add_scores(row)
    aggregated = aggregator.aggregate()
    for name in names:
        assert found.metrics[name].value == pytest.approx(aggregated[name].mid.fmeasure, abs=5e-3)
        theirs = [row[name].fmeasure for row in rows]
        assert found.per_sample[name] == pytest.approx(theirs, abs=1e-12)
        assert found.metrics[name].value == pytest.approx(sum(theirs) / PAIRS, abs=1e-12)
        assert 0.2 < sum(theirs) / PAIRS < 0.9


def test_sacrebleu_as_evaluate_computes_it() -> None:
    """evaluate's metrics/sacrebleu/sacrebleu.py: corpus_bleu(predictions, transposed references)."""
    import sacrebleu

    pairs = random_pairs(PAIRS)
    found = score_texts(["bleu"], texts(pairs)).metrics["bleu"]
    theirs = sacrebleu.corpus_bleu([p for p, _ in pairs], [[r for _, r in pairs]]).score
    assert found.value == pytest.approx(theirs, abs=1e-9)
    assert 5 < theirs < 90


def test_meteor_as_evaluate_computes_it(tiny_wordnet: Path) -> None:
    """evaluate's metrics/meteor/meteor.py: single_meteor_score(word_tokenize(reference),
    word_tokenize(prediction), alpha=0.9, beta=3, gamma=0.5)."""
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate import meteor_score

    wordnet.prepare(tiny_wordnet)
    pairs = random_pairs(PAIRS)
    words = NLTKWordTokenizer()

    def word_tokenize(text: str) -> list[str]:  # nltk.tokenize.word_tokenize, with the Punkt model at hand
        return [token for sentence in split_sentences(text) for token in words.tokenize(sentence)]

    reader = wordnet.load().reader
    theirs = [
        meteor_score.single_meteor_score(
            word_tokenize(reference), word_tokenize(prediction), alpha=0.9, beta=3, gamma=0.5, wordnet=reader
        )
        for prediction, reference in pairs
    ]
    found = score_texts(["meteor"], texts(pairs))
    assert found.per_sample["meteor"] == pytest.approx(theirs, abs=1e-12)
    assert 0.2 < sum(theirs) / PAIRS < 0.9
