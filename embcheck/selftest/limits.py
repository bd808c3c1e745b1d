"""What a calibrated property stays within, as far as so many simulations can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KS", "POWER", "coverage_limits", "faults", "most_passes"]

FALSE_PASSES, MISSES = 0.05, 0.01
COVERED, LOW, HIGH = 0.95, 0.92, 0.98
KS, POWER = 0.001, 0.8


def most_passes(tables: int, rate: float = FALSE_PASSES) -> int:
    """The most passes of so many tables that a true rate may give in 99 of 100 runs: 18 of 200 for 5%."""
    return int(stats.binom.ppf(0.99, tables, rate))


def coverage_limits(redraws: int) -> tuple[float, float]:
    """92% and 98%; wider where a true coverage of 95% would leave them in one of 1,000 runs of so many redraws."""
    low, high = (float(stats.binom.ppf(level, redraws, COVERED)) / redraws for level in (0.001, 0.999))
    return min(LOW, low), max(HIGH, high)


def faults(row: Mapping[str, Any]) -> Iterator[str]:
    """In which ways the simulations of one property left their limits."""
    for case in row["cases"]:
        where = f"[{case['name']}] " if case["name"] else ""
        for fault in (*_on_noise(case["noise"], row["on_noise"]), *_on_planted(case["planted"])):
            yield where + fault
    if row["uniform"] is not None and row["uniform"] <= KS:
        yield f"p-values on noise are not uniform: Kolmogorov-Smirnov p = {row['uniform']:.2g}"
    coverage = row["coverage"]
    if coverage["share"] is not None and coverage["share"] < (low := coverage_limits(coverage["redraws"])[0]):
        yield f"intervals cover {coverage['share']:.1%} of {coverage['redraws']} redraws, less than {low:.1%}"


def _on_noise(noise: Mapping[str, Any], must: str) -> Iterator[str]:
    tables, holds = noise["tables"], noise["holds"]
    if must == "fails" and holds > (limit := most_passes(tables)):
        yield f"holds on {holds} of {tables} tables of noise, more than {limit}"
    if must == "holds" and tables - holds > (limit := most_passes(tables, MISSES)):
        yield f"fails on {tables - holds} of {tables} tables of noise, more than {limit}"


def _on_planted(planted: Mapping[str, Any]) -> Iterator[str]:
    tables, found = planted["tables"], planted["found"]
    if tables and found < POWER * tables:
        yield f"finds what was planted on {found} of {tables} tables, less than {POWER:.0%}"
