"""What a report says: the types of ``embcheck-report/1``. Values until the edge, where they become JSON once.

The engine's results hold the same parts (`Change`, `NullResult`, `Control`), so nothing is copied from one form to
another. Fields with defaults are left out of the JSON where they have them: keys that came after the first version.
"""

from __future__ import annotations

import json
import math
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field, to_builtins

from embcheck.claims import ClaimOutcome, Direction, Kind, Verdict
from embcheck.errors import EmbcheckError
from embcheck.estimate import by_reports

if TYPE_CHECKING:
    from embcheck.estimate import Estimate

SCHEMA: Literal["embcheck-report/1"] = "embcheck-report/1"
FAILING = frozenset({"regressed", "undecided", "stale"})
"""States that don't pass."""

Json = dict[str, Any]
"""An object of JSON."""
Number = int | float  # a rank is read back as the whole number that it was
Probability = Annotated[float, Meta(ge=0, le=1)]
Level = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
State = Literal["match", "improved", "regressed", "undecided", "new", "stale"]


class EstimateRecord(Struct, frozen=True, omit_defaults=True):
    """A value with its interval. Null stands for a number that is not finite."""

    name: str
    value: Number | None
    low: Number | None
    high: Number | None
    confidence_level: Level
    method: str
    n: Count
    unit: str
    exact: bool
    effect: Json | None
    measure: Annotated[str, Meta(description="That of `embcheck.measures` which made it; pictures hang on it.")] = ""
    compared_as: Annotated[
        tuple[str, Number] | None,
        Meta(description="Scale and value on it, where checkpoints are compared on one."),
    ] = None


class NullResult(Struct, frozen=True):
    """What a null gave: its centre, and a p-value where it has draws. Adjusted by Holm over a model's results."""

    name: Name
    value: Number | None
    p_value: Probability | None
    p_adjusted: Probability | None = None


class Control(Struct, frozen=True):
    """On how many random tables the property holds all the same."""

    tables: Positive
    rows: Positive
    holds: Count
    vacuous: bool


class Rung(Struct, frozen=True):
    """What a property gives on tables that keep one thing more: the mean of some draws, and their range."""

    name: Name
    value: Number
    low: Number
    high: Number
    suffices: bool


class Ladder(Struct, frozen=True):
    """The simplest structure with which a claim holds; null where it takes more than every rung keeps."""

    suffices: str | None
    value: Annotated[Number, Meta(description="Of the real table, on the rows that were drawn.")]
    scale: str
    rows: Count
    draws: Positive
    rungs: tuple[Rung, ...]
    low: Annotated[Number | None, Meta(description="The interval of `value`; absent from older reports.")] = None
    high: Number | None = None

    def __str__(self) -> str:
        """``rests on: `` and the structure, as the terminal says it."""
        return f"rests on: {by_reports('wording.ladder_text', self)}"

    def __repr__(self) -> str:
        """The same on one line."""
        return f"<{self}>"


class Change(Struct, frozen=True, kw_only=True):
    """The change against the baseline. Numbers are null where nothing was compared."""

    state: State
    passes: Annotated[bool, Meta(description="Whether the change by itself lets the check pass.")]
    reason: str | None = None
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    confidence_level: Level | None = None
    before: Number | None = None
    after: Number | None = None
    scale: Annotated[str | None, Meta(description="What is compared, such as the reciprocal rank.")] = None
    comparison: Literal["exact", "paired", "unpaired"] | None = None
    method: str | None = None
    n: Count | None = None
    tokens: Annotated[
        Literal["same", "added"] | None, Meta(description="added: compared on the shared tokens only.")
    ] = None
    margin: Annotated[int, Meta(gt=0)] | Annotated[float, Meta(gt=0)] | None = None
    bad: Direction = "both"
    p_value: Probability | None = None
    p_adjusted: Annotated[Probability | None, Meta(description="Holm, over the family.")] = None
    family: Annotated[Positive | None, Meta(description="Entries of the baseline file.")] = None
    moved: Annotated[tuple[Json, ...], Meta(description="The units that moved most.")] = ()
    as_far: Annotated[Count, Meta(description="Units not in 'moved' that moved as far as the last one there.")] = 0
    gone: Annotated[tuple[str, ...], Meta(description="Units of a list that are there no more.")] = ()
    seed: Annotated[Count | None, Meta(description="The baseline's, with which both were measured.")] = None


class ResultRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a check found on a model."""

    id: Name = field(name="property")
    version: int
    params: Annotated[
        dict[str, str | int | float | bool | None],
        Meta(description="By name; 'other' is the alias of the second model where a property is about two."),
    ]
    sentence: Name
    outcome: Literal["pass", "fail"]
    verdict: Verdict
    claims: Annotated[tuple[ClaimOutcome, ...], Meta(min_length=1)]
    estimate: EstimateRecord | None
    nulls: tuple[NullResult, ...]
    control: Control | None
    change: Change | None
    details: Json
    counterexamples: tuple[Json, ...]
    reason: str | None
    ladder: Annotated[Ladder | None, Meta(description="With --explain, of a claim that holds.")] = None
    expected: Annotated[bool, Meta(description="False, or absent: for a check that is configured not to hold.")] = True
    kind: Annotated[Kind, Meta(description="'description', or absent: no verdict of its fails, only a change.")] = (
        "claim"
    )
    by_change: Annotated[bool, Meta(description="True where the change alone decides; absent elsewhere.")] = False
    package: Annotated[
        str | None, Meta(description="The installed package that declares the property; mostly absent.")
    ] = None

    @property
    def passes(self) -> bool:
        """Whether the check passes."""
        return self.outcome == "pass"

    @property
    def key(self) -> str:
        """Property and parameters, as baselines key it."""
        return key_of(self.id, self.params)

    @property
    def measure(self) -> str:
        """The name of the measure of `embcheck.measures` that made the estimate; empty for one of another's own."""
        return self.estimate.measure if self.estimate is not None else ""

    @property
    def label(self) -> str:
        """``analogy_rank[king]``: the property's id and parameters, as a person writes them."""
        return label_of(self.id, self.params)


class Population(Struct, frozen=True):
    """Which rows claims are about, and how many were left out as what."""

    kind: Literal["known", "all"]
    rows: Count
    excluded: dict[Literal["padding", "non_finite", "zero", "special", "unused", "unreachable"], Positive]


class ModelRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model: provenance, population, results in order of property and parameters. Null where it failed to load."""

    alias: Name
    spec: Name
    revision: str | None
    weights_sha256: Sha256 | None
    tokens_sha256: Sha256 | None
    shape: tuple[Count, Positive] | None
    dtype: str | None
    population: Population | None
    results: tuple[ResultRecord, ...]
    unused: Annotated[tuple[str, ...], Meta(description="Entries of the model's baseline that no check uses.")] = ()
    package: Annotated[str | None, Meta(description="The installed package whose source read it; mostly absent.")] = (
        None
    )
    likely: Annotated[
        str | None, Meta(description="What made it of its baseline's checkpoint, where a check regressed.")
    ] = None
    lost: Annotated[
        str | None, Meta(description="Rows that the baseline knew and that are zero or not finite now; mostly absent.")
    ] = None
    damaged: Annotated[
        dict[str, str],
        Meta(description="Parts of a store that could not be read, and why: their rows are left out, the run fails."),
    ] = field(default_factory=dict)


class RunRecord(Struct, frozen=True, omit_defaults=True):
    """How a report was made: versions, seed, device."""

    embcheck: str
    seed: Count
    device: str
    libs: dict[str, str]
    family_wise: Annotated[
        bool, Meta(description="True where 'beats' takes p_adjusted; absent where it takes p_value.")
    ] = False
    partial: Annotated[
        bool, Meta(description="True where the run ended early (interrupted, pytest -x), and checks may be missing.")
    ] = False


class Report(Struct, frozen=True):
    """What checks found on embedding matrices. Equal runs give equal documents, ``timing`` aside."""

    schema: Literal["embcheck-report/1"]
    run: RunRecord
    timing: Json
    models: tuple[ModelRecord, ...]

    @property
    def results(self) -> tuple[ResultRecord, ...]:
        """Those of all models."""
        return tuple(result for model in self.models for result in model.results)


def key_of(name: str, params: Json) -> str:
    """A check's key in baselines and reports: property and parameters, whatever their order."""
    return f"{name} {json.dumps(params, sort_keys=True)}"


def label_of(name: str, params: Json) -> str:
    """``analogy_rank[king]``: a property's id and parameters, as a person writes them."""
    inside = parameters_of(params)
    return f"{name}[{inside}]" if inside else name


def parameters_of(params: Json) -> str:
    """The values of a check's parameters, as its label has them."""
    return "-".join(map(str, params.values()))


def estimate_record(estimate: Estimate) -> EstimateRecord:
    """What a report says of an estimate."""
    numbers = ("value", "low", "high", "confidence_level", "n", "effect")
    return EstimateRecord(
        name=estimate.name,
        method=estimate.method,
        unit=estimate.unit,
        exact=estimate.is_exact,
        measure=estimate.measure,
        compared_as=estimate.compared_as,
        **{key: plain(getattr(estimate, key)) for key in numbers},
    )


def builtins(record: Struct) -> Any:
    """A record as builtin JSON types."""
    return plain(to_builtins(record, str_keys=True))


def schema_of(document: type[Struct], name: str, title: str) -> Json:
    """The JSON Schema (2020-12) of a kind of file."""
    names = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name}
    generated: Json = plain(msgspec.json.schema(document))  # defaults that are tuples become lists
    return names | generated | {"title": title}


def strict_json(text: str) -> Any:
    """JSON of a file that may be anything; `ValueError` for what JSON lacks or no double holds, and for deep nesting.

    Read by the standard library, which takes the lone surrogates that tokens may hold.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def plain(value: Any) -> Any:
    """The value in builtin JSON types: NumPy scalars and arrays unwrapped, numbers that are not finite as null."""
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, and tensors, without importing either library
        return plain(value.tolist())
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | int):  # enumerations of either become the builtin type
        return str(value) if isinstance(value, str) else int(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    raise EmbcheckError(f"details must be JSON types; got {type(value).__name__}")


def version(package: str) -> str:
    """The installed version of a package, or ``unknown`` where it runs from a bare folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
