"""Two models, or two reports of one model, beside each other: how far each property moved, and each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from embcheck import sources
from embcheck.baseline.gate import compare, settle
from embcheck.checks.record import Report, plain
from embcheck.claims import Verdict
from embcheck.config import per_model
from embcheck.config.models import named
from embcheck.errors import EmbcheckError, UsageError
from embcheck.estimate import Snapshot
from embcheck.needs import NO_WEIGHTS
from embcheck.reports import json_file
from embcheck.reports.comparison import Compared, Comparison, Drift, Limit
from embcheck.reports.text import number
from embcheck.reports.wording import scale_of
from embcheck.run.session import Model, Session, checks_for, model_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from embcheck.baseline.pairing import Shared
    from embcheck.checks.check import Check, Result
    from embcheck.checks.record import ResultRecord
    from embcheck.config.config import Config
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


def of_models(
    config: Config, first: str, second: str, *, max_moved: float | None = None, min_overlap: float | None = None
) -> Comparison:
    """The second model against the first, whose configured bounds and margins count, or else the second's."""
    specs = named(config, first), named(config, second)
    for spec in specs:
        sources.check(spec)
    own = next((config.of(spec.alias) for spec in specs if spec.alias in config.per_model), None)
    checks = checks_for(config, ())
    adapted = checks if own is None else [c for check in checks if (c := per_model.adapt(own, check)) is not None]
    models, names = [model_of(config, spec) for spec in specs], (first, second)
    return of_checks(models, names, adapted, config.settings, max_moved=max_moved, min_overlap=min_overlap)


def of_checks(
    models: Sequence[Model],
    names: tuple[str, str],
    checks: Iterable[Check],
    settings: Settings,
    *,
    max_moved: float | None = None,
    min_overlap: float | None = None,
) -> Comparison:
    """The second model against the first, on those of the checks that have a margin.

    Drift fails where a row is farther from itself than ``max_moved`` of its lengths, or was lost, and where the mean
    overlap of nearest rows lies below ``min_overlap``.
    """
    from embcheck.baseline.drift import drift
    from embcheck.baseline.pairing import shared_population
    from embcheck.diagnosis.diagnose import likely

    compared = [check for check in checks if check.declaration.margin is not None]
    old, new = (model.load() for model in models)
    shared = shared_population(old, new, {word for check in compared for word in _words(check)})
    rows = _measured(settings, compared, [model.spec for model in models], shared)
    moved = msgspec.convert(plain(drift(old, new, max_moved=max_moved)), Drift)
    limits = [] if max_moved is None else [_moved_at_most(max_moved, moved)]
    limits += [] if min_overlap is None else [_overlapping(min_overlap, moved)]
    comparison = Comparison(
        models=names,
        populations=shared.said,
        same_tokens=old.tokens_sha256 == new.tokens_sha256,
        drift=moved,
        changes=_settled(rows),
        limits=tuple(limits),
    )
    return comparison if comparison.passes else structs.replace(comparison, likely=likely(old, new, names))


def _measured(
    settings: Settings, checks: Sequence[Check], specs: Sequence[ModelSpec], shared: Shared
) -> list[Compared]:
    """Each check that applies to one of the models, on the rows that both have; of its words, on those of the first."""
    first, with_words = _holding(specs[0], shared.old), _holding(specs[0], shared.with_words)
    second = _holding(specs[1], shared.new)
    session = Session((first, with_words, second), settings, keeps_all=True)
    rows = []
    for check in checks:
        both = [session.measure(check, model) for model in (with_words if _words(check) else first, second)]
        if any(result.verdict is not Verdict.NOT_APPLICABLE for result in both):
            rows.append(_compared(settings, check, *both))
    return rows


def _holding(spec: ModelSpec, table: EmbeddingTable) -> Model:
    return Model(spec, lambda: table)


def _words(check: Check) -> list[str]:
    """The words of the lists that a check is about."""
    return [word for given in check.params.values() for word in getattr(given, "words", ())]


def _moved_at_most(bound: float, drift: Drift) -> Limit:
    value, died = drift.distance.get("max"), drift.tokens.died.rows if drift.tokens else 0
    if value is None:
        said = drift.reason or "rows of different widths have no distance"
    elif drift.farthest:
        far = [f"{token.token!r} #{token.id} by {number(token.value, (bound,))}" for token in drift.farthest]
        n = drift.beyond or 0
        said = f"{n:,} of {drift.rows:,} rows moved farther; the farthest, in its length: {far[0]}"
        if n > 1:
            said = f"{n:,} of {drift.rows:,} rows moved farther; the farthest, in their lengths: {', '.join(far[:n])}"
    else:
        said = "no row moved"
    if died and value is not None:
        said = f"{died} row{'s are' if died > 1 else ' is'} zero or not finite in the second only; {said}"
    return Limit("max-moved", bound, value, value is not None and not died and value <= bound, said)


def _overlapping(bound: float, drift: Drift) -> Limit:
    value = drift.neighbor_jaccard
    if value is None:
        return Limit("min-overlap", bound, None, passes=False, reason=drift.reason or "no overlap was measured")
    said = f"{drift.overlap_of} {number(value, (bound,))}"
    return Limit("min-overlap", bound, value, value >= bound, said)


def _compared(settings: Settings, check: Check, *results: Result) -> Compared:
    errors = [result.undecided for result in results if result.verdict is Verdict.ERROR]
    if errors:
        return Compared(check.label, None, f"error: {errors[0]}", has_failed=True)
    old, new = (result.estimate for result in results)
    if old is None or new is None or not all(result.is_decided for result in results):
        lost = results[0].is_decided and results[1].verdict is Verdict.NOT_APPLICABLE
        reason = next(result.undecided for result in results if result.undecided)
        return Compared(check.label, None, reason, has_failed=lost and results[1].undecided not in NO_WEIGHTS)
    change = compare(old.snapshot(), new.snapshot(), check.declaration, settings)
    return Compared(check.label, change, scale=scale_of(new), unit=new.unit)


def of_reports(config: Config, first: Path, second: Path) -> Comparison:
    """The second report of one model against the first: unpaired, since reports hold no units.

    A check that has a value in one of them only fails, but where that model carries no such weights.
    """
    results = [_results(path) for path in (first, second)]
    old, new = map(_snapshots, results)
    measured = {r.key: r.estimate for r in results[1] if r.estimate}
    lacking = {r.key: r.reason for side in results for r in side if r.reason in NO_WEIGHTS}
    rows = []
    for check in sorted(checks_for(config, ()), key=lambda check: check.key):
        sides = old.get(check.key), new.get(check.key)
        if check.declaration.margin is None or sides == (None, None):
            continue
        then, now = sides
        if then is None or now is None:
            reason = lacking.get(check.key) or f"only {first if now is None else second} has a value"
            rows.append(Compared(check.label, None, reason, has_failed=check.key not in lacking))
        else:
            change = compare(then, now, check.declaration, config.settings)
            estimate = measured[check.key]
            rows.append(Compared(check.label, change, scale=scale_of(estimate), unit=estimate.unit))
    if not rows:
        raise UsageError(f"{str(first)!r} and {str(second)!r} have no compared check in common")
    drift = Drift(reason="reports hold no rows; compare two specs for the drift")
    return Comparison(models=(str(first), str(second)), drift=drift, changes=_settled(rows))


def _results(path: Path) -> Sequence[ResultRecord]:
    """The results in a report of one model."""
    report = json_file.read_any(path)
    if not isinstance(report, Report):
        kind = type(report).__name__.lower()
        raise UsageError(f"{str(path)!r} is a {kind}; compare takes two specs or what check --json wrote")
    if len(report.models) != 1:
        raise EmbcheckError(f"{str(path)!r} is a report of {len(report.models)} models; give one of a single model")
    return report.models[0].results


def _snapshots(results: Iterable[ResultRecord]) -> dict[str, Snapshot]:
    """By check, what a report's estimates are compared by, each on its own scale."""
    snapshots = {}
    for result in results:
        e = result.estimate
        is_open = result.verdict is Verdict.INCONCLUSIVE and result.reason is not None
        if is_open or e is None or e.value is None or e.low is None or e.high is None:
            continue
        level = e.confidence_level
        if e.compared_as is not None:
            scale, value = e.compared_as
            snapshots[result.key] = Snapshot(value, value, value, level, True, scale, e.unit, e.n)  # noqa: FBT003
        else:
            snapshots[result.key] = Snapshot(e.value, e.low, e.high, level, e.exact, e.name, e.unit, e.n)
    return snapshots


def _settled(rows: Sequence[Compared]) -> tuple[Compared, ...]:
    """The rows with their level shared among all changes; there is no baseline, so what is undecided fails."""
    changes = settle([row.change for row in rows])
    return tuple(structs.replace(row, change=change) for row, change in zip(rows, changes, strict=True))
