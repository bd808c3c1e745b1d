"""What benchmarks have in common: their names, the rows they give, and how two things are timed side by side."""

from __future__ import annotations

import importlib
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["NAMES", "Missing", "Row", "Run", "rows_of"]

NAMES = (
    "probes",
    "all_pairs",
    "neighbors",
    "hubness",
    "analogies",
    "similarity",
    "loading",
    "memory",
    "vocabularies",
    "catalogue",
    "startup",
    "cuda",
)


class Missing(Exception):  # noqa: N818 - it is no error: the row says what was not measured
    """What a row needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: what each repeat gave for ours and for the alternative, and how many times better ours is.

    ``target`` is what the ratio should reach. Where there is no alternative, ``theirs`` is the limit itself. ``note``
    says what was left out or scaled, or why nothing was measured.
    """

    benchmark: str
    what: str
    against: str
    unit: str = "s"
    ours: Sequence[float] = ()
    theirs: Sequence[float] = ()
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the alternative's median is of ours."""
        return statistics.median(self.theirs) / statistics.median(self.ours) if self.ours and self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; none where there is no target or no figure."""
        return None if self.ratio is None or self.target is None else self.ratio >= self.target

    @property
    def record(self) -> dict[str, Any]:
        """The row as JSON types."""
        figures = {"ours": list(self.ours), "theirs": list(self.theirs)}
        return {**asdict(self), **figures, "ratio": self.ratio, "met": self.met}


@dataclass(frozen=True, slots=True)
class Run:
    """How to run benchmarks: ``small`` sizes check answers rather than speed; ``scratch`` is a folder to write in."""

    small: bool
    repeats: int
    scratch: Path

    @property
    def few(self) -> int:
        """How often what takes the better part of a minute is repeated."""
        return min(self.repeats, 3)

    def size(self, full: Any, small: Any) -> Any:
        """The one that goes with this run."""
        return small if self.small else full

    def alternate(self, *work: Callable[[], Any], repeats: int | None = None) -> list[list[float]]:
        """Seconds of each piece of work, in turn, after one warm-up of each; what the warm-up cost does not count."""
        for one in work:
            one()
        spent: list[list[float]] = [[] for _ in work]
        for _ in range(repeats or self.repeats):
            for one, times in zip(work, spent, strict=True):
                started = time.perf_counter()
                one()
                times.append(time.perf_counter() - started)
        return spent

    def row(
        self,
        about: tuple[str, str, str],
        ours: Callable[[], Any],
        theirs: Callable[[], Any],
        *,
        target: float | None = None,
        scale: float = 1.0,
        note: str = "",
    ) -> Row:
        """A row of their seconds. ``about`` is the benchmark, what is done and against what.

        ``scale`` multiplies the alternative's seconds where it did only a part of the work; the note says so.
        """
        mine, other = self.alternate(ours, theirs)
        return Row(*about, ours=mine, theirs=[scale * seconds for seconds in other], target=target, note=note)


def rows_of(name: str, run: Run) -> Iterator[Row]:
    """The rows of one benchmark.

    An alternative that is not installed makes a row that says so.
    """
    yield from importlib.import_module(f"benchmarks.{name}").rows(run)


def alternative(module: str, package: str) -> Any:
    """Import an alternative.

    Raises
    ------
    Missing
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Missing(f"not measured: {package} is not installed (pip install 'embcheck[bench]')") from None
