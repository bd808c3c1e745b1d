"""A check, which is a property with values for its parameters, and the result of running it on a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from embcheck.checks.record import ResultRecord, estimate_record, key_of, label_of, plain
from embcheck.claims import Verdict
from embcheck.estimate import by_reports
from embcheck.extensions import package_of
from embcheck.settings import in_ci
from embcheck.text import inert_line, noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from embcheck.checks.picture import Picture
    from embcheck.checks.record import Change, Control, Json, Ladder, NullResult
    from embcheck.claims import Bound, ClaimOutcome, Declaration, Kind
    from embcheck.estimate import Estimate

GateMode = Literal["claims", "regressions", "both"]


@dataclass(frozen=True, slots=True)
class Check:
    """One property with one value for each of its parameters; of a pair of models, with the second one's alias.

    A property of pairs without that alias stands for all of its pairs, and can't be run.
    """

    function: Callable[..., Estimate]
    params: Mapping[str, Any] = field(default_factory=dict)
    other: str | None = None
    redeclared: Declaration | None = None
    """What a project declares instead of what the function carries: other bounds, another margin."""

    @property
    def declaration(self) -> Declaration:
        """What is claimed: as the project has it, or as ``@claim`` said."""
        if self.redeclared is not None:
            return self.redeclared
        declaration: Declaration = self.function.__embcheck__  # type: ignore[attr-defined]
        return declaration

    @property
    def is_whole(self) -> bool:
        """Whether it says all that it takes to run it."""
        return self.other is not None or not self.declaration.of_pairs

    @property
    def record(self) -> Json:
        """The parameters as JSON types: numbers and strings as they are, other values by their name."""
        params = plain_params(self.params)
        return params if self.other is None else {**params, "other": self.other}

    @property
    def key(self) -> str:
        """Property and parameters, as baselines key it."""
        return key_of(self.declaration.id, self.record)

    @property
    def label(self) -> str:
        """``analogy_rank[king]``: the property's id and parameters, as a person writes them."""
        return label_of(self.declaration.id, self.record)


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What one check found on one table; ``record`` is its place in the report.

    ``verdict`` is that of all ``claims`` together, each of which has its own; ``estimate`` is what was measured,
    ``None`` where nothing was, for the ``reason`` given; ``nulls`` are what it is without the structure; ``check`` is
    the property with its parameters, ``seconds`` what it took.
    """

    check: Check
    verdict: Verdict
    estimate: Estimate | None = None
    claims: tuple[ClaimOutcome, ...] = ()
    nulls: tuple[NullResult, ...] = ()
    control: Control | None = None
    undecided: str | None = None
    """What the measure or the configuration says: why nothing was measured, or what was measured is not to decide."""
    expected: bool = True
    seconds: float = 0.0
    ladder: Ladder | None = None
    """The simplest structure with which the claim holds, where that was asked for."""
    change: Change | None = None
    """The change against the baseline."""
    gate: GateMode = "claims"
    """Which of the two decide whether it passes."""
    model: str = ""
    """Alias of the model; of two, of the first."""
    shape: tuple[int, int] | None = None
    """Rows and columns of the model's matrix."""

    def __repr__(self) -> str:
        """One line: check, model, verdict, and the value or why there is none; of what fails, claims and notes too."""
        of_model = f" of {self.model}" if self.model else ""
        measured = self.estimate
        if measured is None:
            return inert_line(f"<{self.check.label}{of_model}: {self.verdict}, {self.undecided}>", 300)
        level = f"{100 * measured.confidence_level:.4g}%"
        ends = "exact" if measured.is_exact else f"{level}: {measured.low:.4g} to {measured.high:.4g}"
        numbers = f"{measured.value:.4g} ({ends}), n = {measured.n} {noun(measured.n, measured.unit)}"
        kind = " (describes)" if by_reports("wording.is_description", self.record) else ""
        said = "; ".join([f"{self.verdict}{kind}, {numbers}", *by_reports("wording.beside", self.record)])
        return inert_line(f"<{self.check.label}{of_model}: {said}>", 600)

    def pictures(self) -> list[Picture]:
        """All pictures of the result, in the order of their numbers: each has a title and says what it shows.

        That is none where nothing was measured, otherwise those of the measure, listed in
        [The report as a page](report.md#which-pictures-a-result-has). Of several models, each result has its own.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed.
        """
        pictures: list[Picture] = by_reports("html.drawing.drawings", self)
        return pictures

    def plot(self, number: int = 0) -> Picture:
        """One of the result's pictures, which a notebook shows in its own light or dark.

        Parameters
        ----------
        number
            Which of `pictures`: 0 is the first, and as many as there are.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed, or there is no picture of that number.
        NotMeasurable
            Nothing was measured, so there is nothing to draw.
        """
        picture: Picture = by_reports("html.drawing.picture", self, number)
        return picture

    def figure(self, path: str | Path, number: int = 0, *, theme: Literal["light", "dark"] = "light") -> None:
        """Write one of the result's pictures to a file whose name ends in ``.svg`` or ``.png``.

        What is claimed, check and model stand above it, what it shows and what its colours mean below.
        ``number`` is that in `pictures`.
        Raises as ``plot`` and ``Picture.save`` do.
        """
        self.plot(number).save(path, theme=theme)

    @property
    def passed(self) -> bool:
        """Whether the check passes: it holds, or is a known exception; and it did not regress, where that counts."""
        return passes(self, self.gate)

    @property
    def reason(self) -> str | None:
        """Why it does not hold, fails or was not measured, value, interval and bound in words; ``None`` if it holds."""
        reason: str | None = by_reports("wording.reason_of", self.record)
        return reason

    @property
    def is_decided(self) -> bool:
        """Whether it has a value that may decide a claim."""
        return self.estimate is not None and self.estimate.reason is None

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(by_reports("html.notebook.result", self))

    @property
    def record(self) -> ResultRecord:
        """The result as the report states it."""
        declaration, estimate = self.check.declaration, self.estimate
        return ResultRecord(
            id=declaration.id,
            version=declaration.version,
            params=self.check.record,
            sentence=declaration.sentence,
            outcome="pass" if self.passed else "fail",
            verdict=self.verdict,
            claims=self.claims,
            estimate=None if estimate is None else estimate_record(estimate),
            nulls=self.nulls,
            control=self.control,
            change=self.change,
            details={} if estimate is None else plain(estimate.details),
            counterexamples=() if estimate is None else tuple(plain(estimate.counterexamples)),
            reason=self.undecided,
            ladder=self.ladder,
            expected=self.expected,
            kind=declaration.kind,
            by_change=self.change is not None and self.gate == "regressions",
            package=package_of(self.check.function),
        )


def plain_params(params: Mapping[str, Any]) -> Json:
    """Values of parameters as a report has them: word lists and the like by their name."""
    return {k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in params.items()}


def passes(result: Result | ResultRecord, gate: GateMode) -> bool:
    """Whether a result passes: by its claims, its change, or both."""
    vacuous = result.control is not None and result.control.vacuous
    kind = result.kind if isinstance(result, ResultRecord) else result.check.declaration.kind
    claims = judge(result.verdict, expected=result.expected, vacuous=vacuous, kind=kind)
    if result.change is None or gate == "claims" or result.verdict is Verdict.ERROR:
        return claims
    return result.change.passes and (claims or gate == "regressions")


def judge(verdict: Verdict, *, expected: bool = True, vacuous: bool = False, kind: Kind = "claim") -> bool:
    """Whether a verdict passes.

    Only HOLDS does, and what the model cannot have is no failure. A check that is expected not to hold passes where it
    does not, and fails where it does (the exception has become wrong); an error never passes. A skipped check passes
    outside continuous integration only. What a description says of a table is no failure, whatever it is.
    """
    if verdict is Verdict.ERROR or vacuous:
        return False
    if verdict is Verdict.NOT_APPLICABLE:
        return True
    if not expected:
        return verdict is not Verdict.HOLDS
    if kind == "description":
        return True
    return verdict is Verdict.HOLDS or (verdict is Verdict.SKIPPED and not in_ci())


def checks_of(functions: Iterable[Callable[..., Estimate]], others: Iterable[str] = ()) -> list[Check]:
    """One check for each combination of parameter values; of pairs, also for each of the ``others``, by alias."""
    seconds = (None, *others)
    checks = []
    for function in functions:
        declaration: Declaration = function.__embcheck__  # type: ignore[attr-defined]
        for case in declaration.cases():
            checks += [Check(function, case, other) for other in (seconds if declaration.of_pairs else (None,))]
    return checks


def claim_outcomes(bounds: Iterable[Bound], estimate: Estimate | None, overall: Verdict) -> tuple[ClaimOutcome, ...]:
    """Each claim with a verdict of its own, or the overall one where the estimate may not decide."""
    decides = estimate is not None and estimate.reason is None
    return tuple(
        bound.outcome(estimate, bound.verdict(estimate) if decides and estimate else overall) for bound in bounds
    )


def error_result(check: Check, message: str, *, expected: bool = True) -> Result:
    """The result of a check that could not be run, such as one whose model failed to load."""
    claims = claim_outcomes(check.declaration.claims, None, Verdict.ERROR)
    return Result(check, Verdict.ERROR, claims=claims, undecided=message, expected=expected)


def skipped_result(check: Check, reason: str, *, expected: bool = True, verdict: Verdict = Verdict.SKIPPED) -> Result:
    """The result of a check that was not run, could not be measured, or is not about the model."""
    claims = claim_outcomes(check.declaration.claims, None, verdict)
    return Result(check, verdict, claims=claims, undecided=reason, expected=expected)
