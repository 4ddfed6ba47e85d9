"""Rubric: requests to a judge about an answer, and the metrics that follow. One file `rubrics/NAME.yaml`."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from perbench import plugins
from perbench.errors import PerbenchError, suggest
from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, RUBRIC, SCORING, ModelName
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.templates import Count, placeholders, refuse, template_faults

Verdict = bool | int | str
"""True means yes; a digit; a label."""
LONGEST = 1_000
"""Maximum characters of an expression, which bounds its nesting."""


class Rubric(Strict):
    """`ask` maps names of requests to instructions, templates over the placeholders `holds`. Each is answered
    by `answer`: yes_no, a digit of a range ("1..5"), or one of a list of labels.

    Every request is a metric: the share of yes, the mean digit, or per label its share, REQUEST_LABEL.
    `metrics` adds or replaces metrics: the share of answers for which an expression holds, {accurate: helpful
    and not violates}. `better` declares that lower values of a metric are better, or (null) neither.
    """

    summary: Annotated[str, SCORING] = ""
    answer: str | list[str]
    holds: Annotated[list[str], SCORING]
    ask: Annotated[dict[str, str], Field(min_length=1)]
    metrics: Annotated[dict[str, str], SCORING] = {}
    better: Annotated[dict[str, Literal["higher", "lower"] | None], SCORING] = {}

    @property
    def options(self) -> dict[str, Verdict]:
        """The possible replies of a judge and their verdicts; empty if `answer` has none of the forms."""
        if isinstance(self.answer, list):
            return {label: label for label in self.answer}
        if self.answer == "yes_no":
            return {"Yes": True, "No": False}
        digits = re.fullmatch(r"([0-9])\.\.([0-9])", self.answer)
        return {str(digit): digit for digit in range(int(digits[1]), int(digits[2]) + 1)} if digits else {}

    @property
    def rates(self) -> bool:
        """Whether verdicts are digits."""
        return isinstance(self.answer, str) and self.answer != "yes_no"

    @property
    def names(self) -> list[str]:
        """The metrics."""
        plain = list(self._facts({}))
        return [*(name for name in self.metrics if name not in plain), *plain]

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of every metric."""
        digits = [int(word) for word in self.options] if self.rates else [0, 1]
        return float(min(digits)), float(max(digits))

    def values(self, verdicts: Mapping[str, Verdict | None]) -> dict[str, float | None]:
        """The metrics of one answer; None if a decisive verdict is missing."""
        facts = self._facts(verdicts)
        found = facts | {name: _holds(_parsed(text), facts) for name, text in self.metrics.items()}
        return {name: None if found[name] is None else float(found[name]) for name in self.names}  # type: ignore[arg-type]

    def _facts(self, verdicts: Mapping[str, Verdict | None]) -> dict[str, int | None]:
        """The metrics of one answer that are requests."""
        if isinstance(self.answer, list):
            given = ((name, label, verdicts.get(name)) for name in self.ask for label in self.answer)
            return {f"{name}_{label}": None if got is None else got == label for name, label, got in given}
        return {name: verdicts.get(name) for name in self.ask}  # type: ignore[misc]

    @model_validator(mode="after")
    def _consistent(self) -> Rubric:
        labels = self.answer if isinstance(self.answer, list) else []
        faults = []
        if len(self.options) < 2 or len({label.casefold() for label in labels}) < len(labels):
            forms = "yes_no, a range of digits such as 1..5, or a list of different labels"
            faults.append(f"answer: got {self.answer!r}; write {forms}")
        faults += [f"answer: {label!r} is not a word" for label in labels if not re.fullmatch(r"\w+", label)]
        facts = self._facts({})
        if len(facts) < len(self.ask) * max(len(labels), 1):
            faults.append("ask: two of the metrics REQUEST_LABEL have one name; rename a request")
        for key in ("ask", "metrics"):
            wrong = [name for name in getattr(self, key) if not name.isidentifier() or iskeyword(name)]
            faults += [f"{key}.{name}: {name!r} is not a plain name, such as {key}_1" for name in wrong]
        found = []
        for name, text in self.ask.items():
            found += template_faults(f"ask.{name}", text, self.holds)
        if not found:
            used = set().union(*map(placeholders, self.ask.values()))
            idle = (word for word in self.holds if word not in used)
            found += [f"holds: {{{word}}} is in no instruction; remove it" for word in idle]
        for name, text in self.metrics.items():
            faults += [f"metrics.{name}: {fault}" for fault in _expression_faults(text, facts, self.rates)]
        faults += [
            f"better.{name}: not a metric of this rubric.{suggest(name, self.names)}"
            for name in self.better
            if name not in self.names
        ]
        refuse(faults + found)
        return self


def _parsed(text: str) -> ast.expr:
    """
    Raises:
        ValueError: the text is not an expression of names, and, or, not and parentheses.
    """
    known = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Name, ast.Load)
    with contextlib.suppress(SyntaxError, RecursionError, MemoryError):
        tree = ast.parse(text.strip(), mode="eval").body
        if len(text) <= LONGEST and all(isinstance(node, known) for node in ast.walk(tree)):
            return tree
    raise ValueError("expected names of requests, joined by and, or, not and parentheses")


def _expression_faults(text: str, facts: Mapping[str, object], rates: bool) -> list[str]:
    if rates:
        return ["a digit is neither true nor false; remove it"]
    try:
        used = {node.id for node in ast.walk(_parsed(text)) if isinstance(node, ast.Name)}
    except ValueError as error:
        return [f"got {text!r}; {error}"]
    return [f"unknown name {word!r}.{suggest(word, facts)}" for word in sorted(used.difference(facts))]


def _holds(node: ast.expr, facts: Mapping[str, int | None]) -> bool | None:
    """Whether an expression is true; None if a decisive fact is missing."""
    if isinstance(node, ast.Name):
        fact = facts[node.id]
        return None if fact is None else bool(fact)
    if isinstance(node, ast.UnaryOp):
        inner = _holds(node.operand, facts)
        return None if inner is None else not inner
    assert isinstance(node, ast.BoolOp)
    parts, decides = [_holds(part, facts) for part in node.values], isinstance(node.op, ast.Or)
    if decides in parts:
        return decides
    return None if None in parts else not decides


# ---------------------------------------------------------------- in a task


def _read(value: object) -> object:
    """`specs.load` replaces a rubric's name by the file's content; a remaining name has no file, or an
    unreadable one."""
    if isinstance(value, str):
        try:
            raise ValueError(f"{plugins.get('rubric', value).path} cannot be read")
        except PerbenchError as error:
            raise ValueError(str(error)) from None
    return value


NamedRubric = Annotated[Rubric, RUBRIC, BeforeValidator(_read)]
"""A key that names a rubric, or holds one."""


class RubricJudge(Strict):
    """Who judges answers, and by which rubric.

    method reply: the judge replies, and invalid replies are requested again, at most `retries` times (not at
    temperature 0); likeliest: the verdict that the model finds likeliest as the start of its reply, for small
    models that do not follow instructions.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    model: ModelName
    rubric: NamedRubric
    method: Literal["reply", "likeliest"] = "reply"
    max_new_tokens: Count = 8
    """Maximum tokens of a reply; a judge that thinks before it answers needs hundreds."""
    temperature: Annotated[float, Field(ge=0), LATER] = 0.0
    retries: Annotated[int, Field(ge=0), LATER] = 2
    calibrated: Annotated[bool, SCORING] = False

    @property
    def asked(self) -> Rubric:
        """The rubric in force."""
        return self.rubric

    @property
    def sampling(self) -> SamplingSpec:
        return SamplingSpec(max_new_tokens=self.max_new_tokens, temperature=self.temperature)
