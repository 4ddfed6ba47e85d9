"""LaMP (arXiv 2304.11406), user split: citations, movie tags, ratings, headlines, titles, tweets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from perbench.api import Family, RawData, Remote, Skip
from perbench.errors import PerbenchError

HOME = "ciir.cs.umass.edu/downloads/LaMP"
SPLITS = ("train", "dev")
KINDS = ("questions", "outputs")
TEXT = (str, None)
OUTPUTS = {"task": str, "golds": [{"id": (str, int), "output": (str, int)}]}
MOST_ODD = 5
"""Inputs that may be malformed before the file counts as another one."""
LISTED = 5
"""Ids that a message names."""


class Table(NamedTuple):
    item: dict[str, Any]
    """The fields of a profile's item."""
    opening: str
    """With which every input begins."""
    marker: str
    """After which the item in question follows."""
    folder: str = ""
    """Where the files are, below the task's folder; the plain folder of movie tags has news categories."""


AUTHOR = "For an author who has written the paper with the title"
TABLES = {
    "LaMP_1": Table({"title": TEXT, "abstract": TEXT}, AUTHOR, '[1]: "'),
    "LaMP_2": Table({"tag": TEXT, "description": TEXT}, "Which tag does this movie", "description:", "new/"),
    "LaMP_3": Table({"text": TEXT, "score": (str, int)}, "What is the score of the", "review:"),
    "LaMP_4": Table({"title": TEXT, "text": TEXT}, "Generate a headline for the", "article:"),
    "LaMP_5": Table({"title": TEXT, "abstract": TEXT}, "Generate a title for the", "paper:"),
    "LaMP_7": Table({"text": TEXT}, "Paraphrase the following tweet", ":"),
}


def remotes_of(home: str) -> tuple[Remote, ...]:
    files = [
        f"{name}/{table.folder}{split}/{split}_{kind}.json"
        for name, table in TABLES.items()
        for split in SPLITS
        for kind in KINDS
    ]
    return (Remote("web", home, dict.fromkeys(files)),)


class LaMP(Family):
    """Tables LaMP_N/train and LaMP_N/dev: questions joined with outputs by id, {id, user, input, output,
    profile}. The outputs of the test split are withheld, so dev is what can be tested here. `user` is the
    question's user_id; without one, questions with equal profiles are of one user. LaMP-6 (e-mails under a
    licence of their own) and the older LaMP-2 (news categories) are left out. No checksum of the files is
    known to us."""

    remotes = remotes_of(HOME)
    tables = tuple(f"{name}/{split}" for name in TABLES for split in SPLITS)

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        name, _, split = table.partition("/")
        places = {kind: _places(name, split, kind) for kind in KINDS}
        there = [kind for kind in KINDS if raw.has(*places[kind])]
        if len(there) == 1:
            (absent,) = {*KINDS} - {*there}
            raise PerbenchError(
                f"{name}: {split}_{there[0]} is there, but {split}_{absent} is not; fetch it, too, into the "
                f"same folder, or remove {split}_{there[0]}"
            )
        outputs = _outputs(raw, name, split, places["outputs"])
        shape = {"id": (str, int), "input": str, "profile": [TABLES[name].item]}
        seen: set[str] = set()
        odd: list[str] = []
        for row in raw.records(*places["questions"], shape=shape):
            key = str(row["id"])
            if key in seen:
                raise PerbenchError(f"{name}/{split}_questions holds the id {key!r} twice; fetch it again")
            seen.add(key)
            if key not in outputs:
                continue  # told at the end, with all others
            if fault := _malformed(name, row["input"]):
                odd.append(key)
                _check_odd(odd, name, split, fault)
                raw.note(f"question {key} is left out: its input {fault}")
                yield Skip("malformed input")
            elif not row["profile"]:
                yield Skip("empty profile")
            elif not outputs[key].strip():
                yield Skip("empty output")
            else:
                yield _row(row, outputs[key], raw)
        _check_ids(name, split, seen, outputs.keys())


def _places(name: str, split: str, kind: str) -> Sequence[str]:
    """As published, and flat; in small letters, too."""
    file = f"{split}_{kind}"
    below = dict.fromkeys((f"{TABLES[name].folder}{split}/{file}", f"{split}/{file}", file))
    return [f"{place}/{path}" for place in (name, name.lower()) for path in below]


def _outputs(raw: RawData, name: str, split: str, places: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in raw.records(*places, shape=OUTPUTS):
        if record["task"] != name:
            raise PerbenchError(f"{name}/{split}_outputs is of task {record['task']!r}; fetch that of {name}")
        for gold in record["golds"]:
            key = str(gold["id"])
            if key in found:
                raise PerbenchError(f"{name}/{split}_outputs holds the id {key!r} twice; fetch it again")
            found[key] = str(gold["output"])
    return found


def _malformed(name: str, text: str) -> str | None:
    """What is missing in an input, if anything: one published input is cut off."""
    table = TABLES[name]
    if not text.startswith(table.opening):
        return f"does not begin with {table.opening!r}"
    return None if table.marker in text else f"has no {table.marker!r}"


def _check_odd(odd: Sequence[str], name: str, split: str, fault: str) -> None:
    if len(odd) > MOST_ODD:
        news = " (that of news categories, LaMP_2, has movie tags in LaMP_2/new)" if name == "LaMP_2" else ""
        raise PerbenchError(
            f"{name}/{split}_questions does not read as {name}: the inputs of {_some(odd)} are malformed, "
            f"the last {fault}; name the folder of {name}'s files{news}"
        )


def _check_ids(name: str, split: str, questions: set[str], outputs: Any) -> None:
    bare, unasked = sorted(questions - outputs), sorted(outputs - questions)
    if bare or unasked:
        parts = [f"no output for {_some(bare)}"] if bare else []
        parts += [f"no question for {_some(unasked)}"] if unasked else []
        raise PerbenchError(
            f"{name}/{split}_questions and {split}_outputs hold different ids: {'; '.join(parts)}. Fetch "
            "both files again, of the same split"
        )


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
    return f"{', '.join(ids[:LISTED])}{more}"


def _row(row: Mapping[str, Any], output: str, raw: RawData) -> dict[str, Any]:
    profile = [
        {name: "" if value is None else str(value) for name, value in item.items()} for item in row["profile"]
    ]
    user = row.get("user_id")
    if user is None:
        raw.note("questions without user_id: those with equal profiles are of one user")
        own = [{name: value for name, value in item.items() if name != "id"} for item in profile]
        user = f"profile-{hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]}"
    return {
        "id": str(row["id"]),
        "user": str(user),
        "input": row["input"],
        "output": output,
        "profile": profile,
    }
