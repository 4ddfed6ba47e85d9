"""Readers of replies against the benchmarks' rules, rewritten here from their descriptions, and rankings
against scipy and scikit-learn, on generated replies and ratings."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perbench.api import Example
from perbench.protocols.choice.replies import picks
from perbench.protocols.choice.rules import pairwise, shared, spearman, writers_means
from perbench.protocols.choice.section import ReplySpec
from perbench.specs.compose import owner_of
from tests.owners import score
from tests.protocols.test_choice import OPTIONS, task

MARKS = {
    "choice_tag": ["<choice>", "</choice>", "<CHOICE>", "Choice:", "<b>", "</choice"],
    "final_answer": ["<final_answer>", "</final_answer>", "\n<final_answer>", "(", ")"],
    "boxed": ["\\boxed{", "}", "\\boxed {", "\\boxed ", "\\fbox{", "{", "$"],
    "letter": [".", ")", "(", "\n"],
}
WORDS = ["a", "b", "C", "D", "(a)", "(b)", "(C)", "A.", "B", "Cannot", "the", "answer", "a cat", "e", "", " "]


@cache
def replies(read: str, count: int = 400) -> list[str]:
    """Some well formed, most not."""
    draw = random.Random(read)
    forms: dict[str, Callable[[str], str]] = {
        "choice_tag": "<choice>{}</choice>".format,
        "final_answer": "It is so. <final_answer> ({})".format,
        "boxed": "<think>x</think> \\boxed{{{}}}".format,
        "letter": "{}".format,
    }
    found = []
    for number in range(count):
        if number % 4 == 0:
            found.append(forms[read](draw.choice("abcdABCD")))
            continue
        parts = [draw.choice(MARKS[read] + WORDS) for _ in range(draw.randint(0, 7))]
        found.append(draw.choice(["", " "]).join(parts))
    return found


TAGGED = (
    "C------D----B-----CAC-------CC-C-------DD----------A----C-------D---C---------C-"
    "A--C-C--D---DC---------D---CD-C-C-C------C----------C---A---------------A-------"
    "-----A--D---A-------A---------------DC--A-------A-------A---C--DB-------C-------"
    "C-------D------C--------D---A-------------------B----DC-B---A-------B---DA--A---"
    "------------------------A---------------B-D--------A----D---D-----------CC--A---"
)
"""What PrefEval's extract_choice, with BeautifulSoup 4, reads in `replies("choice_tag")`."""


def tagged(reply: str, gold: str) -> bool:
    return TAGGED[replies("choice_tag").index(reply)].lower() == gold


def answered(reply: str, gold: str) -> bool:
    """PersonaMem: the options named after the last <final_answer> are exactly the gold, or those of all."""

    def named(text: str) -> set[str]:
        text = text.lower()
        found = re.findall(r"\(([a-d])\)", text)
        return set(found) if found else set(re.findall(r"\b([a-d])\b", text))

    last = reply.strip()
    if "<final_answer>" in last:
        last = last.split("<final_answer>")[-1].strip()
    if last.endswith("</final_answer>"):
        last = last[: -len("</final_answer>")].strip()
    return named(last) == {gold} or named(reply) == {gold}


def boxed(reply: str, gold: str) -> bool:
    """PersonaMem-v2: MATH's last boxed string, without spaces, line breaks and case, is the gold."""
    if "\\boxed " in reply:
        inside = reply.split("\\boxed ")[-1].split("$")[0]
    else:
        start = reply.rfind("\\boxed")
        if start < 0:
            return False  # what \fbox{} holds is not taken out of it there
        depth, stop = 0, None
        for place in range(start, len(reply)):
            depth += (reply[place] == "{") - (reply[place] == "}")
            if reply[place] == "}" and depth == 0:
                stop = place
                break
        whole = "" if stop is None else reply[start : stop + 1]
        if not whole.startswith("\\boxed{"):
            return False
        inside = whole[len("\\boxed{") : -1]
    return inside.replace(" ", "").replace("\n", "").lower() == gold


def alone(reply: str, gold: str) -> bool:
    bare = reply.strip()
    forms = {
        form.format(gold) for form in ("{}", "({})", "{}.", "{})", "({}", "({}).", "({}:", "{}:", "({}.")
    }
    return bare.lower() in forms | {f"({gold}):", f"({gold}))"}


def test_a_reading_that_knows_no_small_letters_is_refused_with_them() -> None:
    for read in ("letter", "final_answer", "boxed"):
        for letters in ("upper", "lower"):
            assert ReplySpec(read=read, letters=letters).read == read  # type: ignore[arg-type]
            shown = "({})" if read != "boxed" else r"\boxed{{{}}}"
            letter = "B" if letters == "upper" else "b"
            assert picks(read, shown.format(letter), 4) == {1}  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"letters: read choice_tag .*set letters: upper"):
        ReplySpec(read="choice_tag", letters="lower")


OFFICIAL = {"choice_tag": tagged, "final_answer": answered, "boxed": boxed, "letter": alone}


@pytest.mark.parametrize("read", OFFICIAL)
def test_replies_are_read_as_the_benchmark_reads_them(read: Any) -> None:
    """Accuracy over 400 replies, and each of them under every gold."""
    from sklearn.metrics import accuracy_score

    texts, draw = replies(read), random.Random(1)
    for reply in texts:
        for place, gold in enumerate("abcd"):
            assert (place in picks(read, reply, 4)) == OFFICIAL[read](reply, gold), reply
    golds = [draw.randrange(4) for _ in texts]
    samples = [
        {
            "id": str(number),
            "user": str(number % 20),
            "options": OPTIONS,
            "gold": gold,
            "orders": [[0, 1, 2, 3]],
            "replies": [reply],
            "replies_without": [""],
            "persona_kept": 1,
            "persona_trimmed": 0,
        }
        for number, (reply, gold) in enumerate(zip(texts, golds, strict=True))
    ]
    found = score(task(by="reply", reply={"read": read}), samples)
    right = [OFFICIAL[read](reply, "abcd"[gold]) for reply, gold in zip(texts, golds, strict=True)]
    assert found.metrics["accuracy"].value == pytest.approx(accuracy_score([True] * len(right), right))
    unparsed = sum(not picks(read, reply, 4) for reply in texts)
    assert found.counts["unparsed"] == unparsed
    assert 50 < unparsed < len(texts) - 50
    assert found.metrics["no_persona"].value == 0


def test_two_readings_of_one_final_answer() -> None:
    assert picks("final_answer", "I think (b). <final_answer> a", 4) == {0, 1}
    assert picks("final_answer", "(a) or (b)", 4) == frozenset()
    assert picks("final_answer", "It is a dog", 4) == {0}  # the article
    assert picks("choice_tag", "<choice>Cannot", 4) == {2}
    assert picks("boxed", r"\boxed{a} so \boxed{ B }", 4) == {1}
    assert picks("letter", "The answer is B", 4) == frozenset()
    assert picks("letter", "e", 4) == frozenset()


ratings = some.lists(some.sampled_from([1.0, 2.0, 3.5, 4.0, 9.0]), min_size=2, max_size=8)


@given(some.data(), ratings)
def test_rankings_agree_with_scipy_and_scikit_learn(data: Any, rated: list[float]) -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    values = some.sampled_from([-3.0, -1.0, -0.5, 0.0])
    scores = data.draw(some.lists(values, min_size=len(rated), max_size=len(rated)))
    found = spearman(scores, rated)
    if len(set(scores)) == 1 or len(set(rated)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(spearmanr(scores, rated).statistic), abs=1e-12)
    top = [rating == max(rated) for rating in rated]
    low = [1.0 if best else 0.0 for best in top]
    if 0 < sum(top) < len(top):  # of two levels of ratings, the share of right pairs is the AUC
        assert pairwise(scores, low, 0) == pytest.approx(float(roc_auc_score(top, scores)))
    else:
        assert pairwise(scores, low, 0) is None
    assert sum(shared(scores, place) for place in range(len(scores))) == pytest.approx(1)


def test_ranking_metrics_by_hand() -> None:
    base = {
        "options": ["aaaa", "bb", "c"],
        "ratings": [90.0, 40.0, 38.0],
        "models": ["x", "y", "z"],
        "reference": "aaaa",
        "option_tokens": [4, 2, 1],
        "orders": [[0, 1, 2]],
        "persona_kept": 1,
        "persona_trimmed": 0,
    }
    samples = [
        # per token: -1, -2, -3; without: -3, -2, -1
        {**base, "id": "1", "user": "a", "logp": [-4.0, -4.0, -3.0], "logp_without": [-12.0, -4.0, -1.0]},
        # per token: -2, -1, -3; the writers change places
        {
            **base,
            "id": "2",
            "user": "b",
            "models": ["z", "y", "w"],
            "logp": [-8.0, -2.0, -3.0],
            "logp_without": [-4.0, -4.0, -3.0],
        },
    ]
    found = score(task(rated={"scale": [1, 100], "threshold": 5}, by="per_token"), samples)
    values = found.scores.scores
    # The pair of 40 and 38 is not compared.
    assert values["pairwise"] == [1.0, 0.5]
    assert values["pairwise_no_persona"] == [0.0, 1.0]
    assert values["pairwise_gain"] == [1.0, -0.5]
    assert values["pairwise_longest"] == [1.0, 1.0]
    # For user a, writers by b's ratings: x unknown (mean of b 56), y 40, z 90: pairs (56, 40) and (56, 90).
    # For b, by a's: z 38, y 40, w unknown (56): both pairs wrong.
    assert writers_means(samples) == [[56.0, 40.0, 90.0], [38.0, 40.0, 56.0]]
    assert values["pairwise_writer"] == [0.5, 0.0]
    assert values["top1"] == [1.0, 0.0]
    assert values["top1_no_persona"] == [0.0, 1.0]
    assert values["spearman"] == [1.0, 0.5]
    assert values["rating"] == [90.0, 40.0]
    assert values["rating_mean"] == [56.0, 56.0]
    assert values["rating_best"] == [90.0, 90.0]
    wide = score(task(rated={"scale": [1, 100], "threshold": 60}), samples).metrics["pairwise"]
    assert (wide.value, wide.why) == (None, {"no ratings differ enough": 2})


def test_audits_take_the_preferred_option_for_the_right_one() -> None:
    """It is what `top1` counts: people also choose an answer rated like another one, or below it."""
    extra = {"options": ["a", "b", "c"], "ratings": [80.0, 80.0, 90.0], "models": None}
    offer = owner_of(task(rated={"scale": [1, 100]}).spec).offered(Example("1", "u", "q", "b", (), extra))
    assert offer is not None
    assert (offer.options[offer.gold], offer.gold) == ("b", 1)
