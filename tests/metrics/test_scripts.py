"""What a metric cannot read is missing, with the reason; what it can read keeps its number."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.contracts.metric import Texts
from perbench.metrics import score_texts
from perbench.store.record import Metric
from perbench.text.scripts import (
    BLANK,
    NO_WORDS,
    SHORT,
    UNREAD,
    UNSPACED_ANSWER,
    UNSPACED_REFERENCE,
    latin,
    unspaced,
    word_count,
)

NAMES = ["rouge1", "rouge2", "rougeL", "meteor", "bleu", "chrf", "length"]
OF_WORDS = ("rouge1", "rouge2", "rougeL", "meteor")


def measured(pairs: list[tuple[str, str]]) -> dict[str, Metric]:
    """Of (answer, reference) pairs, each of a user of its own; METEOR where WordNet is prepared."""
    users = [f"u{number}" for number in range(len(pairs))]
    answers, references = [one for one, _ in pairs], [one for _, one in pairs]
    return score_texts(NAMES, Texts(answers, references, users, [False] * len(pairs))).metrics


CHINESE, HINDI = "我喜欢吃豆子和米饭。", "मुझे नदी के किनारे चलना पसंद है।"
THAI, RUSSIAN = "ฉันชอบรถไฟ", "Я люблю ездить на поезде"
ARABIC, JAPANESE, KOREAN = "أحب السفر بالقطار جدا", "電車が好きです", "나는 기차를 정말 좋아해요"
BURMESE, GREEK, EMOJI = "ကျွန်တော်ရထားကြိုက်တယ်", "μου αρέσει το τρένο πολύ", "🙂🚂 🎉"
TABLE: dict[str, tuple[str, str | None, str | None]] = {
    # the reference, why ROUGE and METEOR cannot read it, why BLEU cannot
    "Chinese": (CHINESE, UNREAD, UNSPACED_REFERENCE),
    "Hindi": (HINDI, UNREAD, None),
    "Thai": (THAI, UNREAD, UNSPACED_REFERENCE),
    "Japanese": (JAPANESE, UNREAD, UNSPACED_REFERENCE),
    "Burmese": (BURMESE, UNREAD, UNSPACED_REFERENCE),
    "Russian": (RUSSIAN, UNREAD, None),
    "Greek": (GREEK, UNREAD, None),
    "Arabic": (ARABIC, UNREAD, None),
    "Korean": (KOREAN, UNREAD, None),
    "Russian with a Latin name": (f"{RUSSIAN} Ivolga", UNREAD, None),
    "emoji": (EMOJI, NO_WORDS, NO_WORDS),
    "punctuation": ("?! ... --", NO_WORDS, NO_WORDS),
    "nothing": ("", BLANK, BLANK),
    "white space": (" \n", BLANK, BLANK),
    "English": ("I like to go by train.", None, None),
    "accents": ("J'ai déjà mangé à l'été passé", None, None),
    "digits": ("1 2 3 4 5", None, None),
    "English with an emoji": ("I like to go by train 🚂", None, None),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_reference_that_a_metric_cannot_read_has_no_score_and_says_why(name: str) -> None:
    reference, by_words, bleu = TABLE[name]
    for answer in (reference, "", "I like trains"):
        found = measured([(answer, reference)])
        for metric in OF_WORDS:
            if metric in found:
                assert found[metric].why == ({by_words: 1} if by_words else {})
                assert found[metric].missing == bool(by_words)
                assert (found[metric].value is None) == bool(by_words)
        assert found["bleu"].why == ({bleu: 1} if bleu else {})
        assert found["chrf"].why == ({BLANK: 1} if not reference.strip() else {})
        assert (found["bleu"].value is None, found["chrf"].value is None) == (
            bool(bleu),
            not reference.strip(),
        )


@pytest.mark.parametrize("reference", [HINDI, RUSSIAN, ARABIC, KOREAN, GREEK])
def test_what_can_measure_other_scripts_still_does(reference: str) -> None:
    found = measured([(reference, reference)])
    assert found["bleu"].value == pytest.approx(100.0)
    assert found["chrf"].value == pytest.approx(100.0)
    assert found["length"].value == len(reference.split())


def test_an_empty_or_foreign_answer_to_a_readable_reference_is_an_honest_zero() -> None:
    for answer in ("", CHINESE, EMOJI):
        found = measured([(answer, "I like to go by train")])
        for name in {*OF_WORDS, "bleu"} & found.keys():
            assert (found[name].value, found[name].n, found[name].missing) == (pytest.approx(0.0), 1, 0)


def test_what_cannot_be_read_moves_neither_mean_nor_corpus_score() -> None:
    readable = [("the cat sat on a mat", "the cat is on the mat"), ("a b c d", "a b c d")]
    alone = measured(readable)
    mixed = measured([readable[0], (CHINESE, CHINESE), readable[1], (EMOJI, EMOJI)])
    for name in {*OF_WORDS, "bleu"} & alone.keys():
        assert (mixed[name].value, mixed[name].n, mixed[name].missing) == (alone[name].value, 2, 2)
        assert sum(mixed[name].why.values()) == 2


def test_pairs_and_4_grams_that_references_do_not_hold_are_not_missed_in_answers() -> None:
    one, three = measured([("deer", "deer")]), measured([("I like deer", "I like deer")])
    assert (one["rouge1"].value, one["rouge2"].value, one["rouge2"].why) == (1.0, None, {SHORT: 1})
    assert (three["rouge2"].value, three["bleu"].value, three["bleu"].why) == (1.0, None, {SHORT: 1})
    # In a corpus with a longer reference the short one counts, as ever.
    both = measured([("I like deer", "I like deer"), ("I like old dogs", "I like old dogs")])
    assert (both["bleu"].value, both["bleu"].n) == (pytest.approx(100.0), 2)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_the_reference_itself_is_the_best_answer_or_has_no_score(text: str) -> None:
    found = measured([(text, text)])
    for name, best in {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0, "bleu": 100.0, "chrf": 100.0}.items():
        metric = found[name]
        assert metric.value is None or metric.value == pytest.approx(best)
        assert metric.n + metric.missing == 1
        assert sum(metric.why.values()) == metric.missing


@given(st.text(alphabet="我喜欢吃豆子ฉันชอบ電車が ", max_size=20), st.text(alphabet="abc ", max_size=20))
def test_words_are_counted_where_spaces_part_them(foreign: str, plain: str) -> None:
    assert word_count(plain) == len(plain.split())
    assert unspaced(foreign) == bool(foreign.strip())
    assert latin(foreign) == (UNREAD if foreign.strip() else BLANK)


def test_the_length_of_an_answer_without_spaces_is_unknown_not_one() -> None:
    metric = measured([(CHINESE, "a"), ("two words", "a"), ("", "a")])["length"]
    assert (metric.value, metric.n, metric.why) == (1.0, 2, {UNSPACED_ANSWER: 1})
