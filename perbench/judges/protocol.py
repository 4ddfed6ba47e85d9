"""Base class of protocols that score answers with a rubric's judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypedDict

from perbench.contracts import missing
from perbench.contracts.base import Asked, K, Role
from perbench.contracts.metric import Scale, mean_metric
from perbench.contracts.protocol import Protocol, Sample
from perbench.disk.digests import canonical_digest
from perbench.judges import ask

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown
    from perbench.shapes.rubric import RubricJudge, Verdict


class JudgeOverhead(TypedDict):
    """Tokens of the judge."""

    judge_prompt: int
    judge_generated: int


class Verdicts(TypedDict):
    """The stored verdicts on an answer."""

    checks: dict[str, Verdict | None]
    """By request; None if the judge gave no verdict or was not asked."""
    checks_raw: dict[str, str]
    """The judge's last reply to each request."""
    checks_missing: dict[str, str]
    """Why a request has no verdict."""
    overhead: JudgeOverhead


class JudgedProtocol(Protocol[K]):
    """A protocol whose section holds `judge: RubricJudge`; metrics, bounds and headlines follow from the
    rubric. Samples hold `Verdicts`, as returned by `judged`, and id, user, response, finish_reason,
    prompt_tokens and new_tokens."""

    holds: ClassVar[tuple[str, ...]] = ("question", "response")
    """Placeholders that a rubric may use: the keys of the rows passed to `judged`."""

    @property
    def judge(self) -> RubricJudge:
        found: RubricJudge = getattr(self.keys, self._section).judge
        return found

    @property
    def _section(self) -> str:
        return next(name for name, section in self.keys if hasattr(section, "judge"))

    @property
    def _place(self) -> str:
        return f"{self._section}.judge"

    def faults(self) -> Iterator[str]:
        wrong = [f"{{{word}}}" for word in self.judge.asked.holds if word not in self.holds]
        if wrong:
            offered = ", ".join(f"{{{word}}}" for word in self.holds)
            yield f"{self._place}.rubric: uses {', '.join(wrong)}, but {self.called} offers only {offered}"

    def headlines(self) -> Sequence[str]:
        return self.judge.asked.names

    def scale(self, metric: str) -> Scale:
        rubric = self.judge.asked
        return Scale(rubric.better.get(metric, "higher"), rubric.bounds)

    def idle(self) -> dict[str, str]:
        place, judge = self._place, self.judge
        if judge.method == "likeliest":
            keys = ("max_new_tokens", "temperature", "retries")
            return {f"{place}.{key}": f"under {place}.method likeliest" for key in keys}
        return {} if judge.temperature else {f"{place}.retries": f"under {place}.temperature 0"}

    def roles(self) -> Sequence[Role]:
        place, judge = self._place, self.judge
        message = (
            f"{place}: {{model}} is {{what}}, which gives no log-probs; set {place}.method: reply, or name a "
            "model whose weights are on this machine"
        )
        return [Role("judge", judge.model, {"score": message} if judge.method == "likeliest" else {})]

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import guessed

        answer, subject, judge = self.spec.sampling.max_new_tokens, Asked(), Asked()
        for example in examples:
            whole = guessed(self.spec, example, answer)[0]
            subject += Asked(1, whole - answer, answer)
            judge += self.questions(whole)
        return {"subject": subject, "judge": judge}

    def questions(self, about: int) -> Asked:
        """The judge's requests about one answer; `about`: number of tokens that fill the placeholders."""
        from perbench.prompts.messages import estimated

        judge, found = self.judge, Asked()
        for text in judge.asked.ask.values():
            found += Asked(1, estimated(text) + about, judge.max_new_tokens)
        return found

    def judged(
        self, engines: Engines, rows: Sequence[Mapping[str, str] | None], *, seed: int
    ) -> list[Verdicts]:
        """The verdicts on each row of placeholder values (see `holds`); None is not judged."""
        judge = self.judge
        there = [row for row in rows if row is not None]
        found = iter(
            ask(
                engines.named(judge.model),
                judge.asked,
                there,
                judge.sampling,
                method=judge.method,
                retries=judge.retries,
                seed=seed if judge.temperature > 0 else None,
            )
        )
        verdicts = [{} if row is None else next(found) for row in rows]
        names = list(judge.asked.ask)
        return [
            Verdicts(
                checks={name: one[name].value if one else None for name in names},
                checks_raw={name: one[name].raw[-1] if one else "" for name in names},
                checks_missing={name: got.why for name, got in one.items() if got.why is not None},
                overhead=JudgeOverhead(
                    judge_prompt=sum(got.prompt_tokens for got in one.values()),
                    judge_generated=sum(got.new_tokens for got in one.values()),
                ),
            )
            for one in verdicts
        ]

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        found = super().shown(samples, example)
        if len(samples) > 1:
            return found
        return replace(found, details=(*found.details, *_verdicts(samples[0])))

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        judge = ("judge_prompt", "judge_generated")
        return super().tokens(samples) | {n: sum(sample["overhead"][n] for sample in samples) for n in judge}

    def signatures(self) -> Mapping[str, str]:
        judge, rubric = self.judge, self.judge.asked
        wording = canonical_digest(list(rubric.ask.values()))[:12]
        asked = f"judge:{judge.model}|method:{judge.method}|instructions:{wording}"
        rules = {name: f"if:{rule}|" for name, rule in rubric.metrics.items()}
        return {name: f"{name}|{rules.get(name, '')}{asked}" for name in rubric.names}

    def score(self, samples: Sequence[Sample]) -> Scored:
        return self.scored(samples)

    def scored(self, samples: Sequence[Sample], tail: str = "", notes: Sequence[str] = ()) -> Scored:
        """Score by the rubric's metrics; `tail` is appended to their signatures."""
        from perbench.contracts.run import Scored
        from perbench.store.record import Scores

        judge, rubric = self.judge, self.judge.asked
        clusters = [sample["user"] for sample in samples]
        rows = [rubric.values(sample["checks"]) for sample in samples]
        values = {name: [row[name] for row in rows] for name in rubric.names}
        signatures = self.signatures()
        there = missing.answered(samples)
        why = [missing.reason(sample) or _unjudged(sample) for sample in samples]
        open_ = Counter(reason for sample in there for reason in sample.get("checks_missing", {}).values())
        found = []
        if open_:
            gave = "said neither yes nor no" if rubric.answer == "yes_no" else "gave no verdict"
            found.append(
                f"the judge {judge.model} {gave} in {open_.total()} of {len(rubric.ask) * len(there)} checks "
                f"({missing.in_words(open_)}); {self._place}.max_new_tokens is {judge.max_new_tokens}"
                + (", and a small judge may need method: likeliest" if judge.method == "reply" else "")
            )
        found += notes
        if not judge.calibrated:
            found.append(f"the judge {judge.model} is uncalibrated; its checks are no measure of quality")
        return Scored(
            scores=Scores(ids=[sample["id"] for sample in samples], clusters=clusters, scores=dict(values)),
            metrics={
                name: mean_metric(column, clusters, signatures[name] + tail, why, scale=self.scale(name))
                for name, column in values.items()
            },
            counts={
                "samples": len(samples),
                "truncated": sum(sample["finish_reason"] == "length" for sample in there),
                "empty": sum(not sample["response"].strip() for sample in there),
                "missing_scores": sum(value is None for one in there for value in one["checks"].values()),
                **missing.counts(samples),
            },
            notes=found,
        )


def _verdicts(sample: Sample) -> Iterator[tuple[str, str]]:
    """The judge's verdicts in words: ("helpful", "no"), ("rating", "4"), ("violates", "none (judge
    unreadable): Perhaps.")."""
    if missing.reason(sample) is not None:
        return
    why, replies = sample.get("checks_missing", {}), sample.get("checks_raw", {})
    for name, verdict in sample["checks"].items():
        if verdict is None:
            yield name, f"none ({why.get(name, 'unknown').replace('_', ' ')}): {replies.get(name, '')}"
        else:
            yield name, ("no", "yes")[verdict] if isinstance(verdict, bool) else str(verdict)


def _unjudged(sample: Sample) -> str | None:
    """The first reason why a check of the answer is missing."""
    reasons: Mapping[str, str] = sample.get("checks_missing", {})
    return next(iter(reasons.values()), None)
