"""How a run measures: seed, confidence level, number of probes. Set once by the run, read by the measures."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "DEFAULT_PROBES", "EXACT_UP_TO", "Settings", "current", "give_back_memory", "in_ci", "in_force", "is_decided",
    "prepare_process", "using", "using_rule",
]  # fmt: skip

DEFAULT_PROBES = 1_000
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENAS = -1, -3, -8  # of mallopt(3)
_OF_DASK = "MALLOC_TRIM_THRESHOLD_", "65536"
EXACT_UP_TO = 32_000  # populations up to this size are measured whole unless --probes says otherwise


@dataclass(frozen=True, slots=True)
class Settings:
    """Seed, confidence level and probe count of a run."""

    seed: int = 0
    confidence_level: float = 0.95
    probes: int | Literal["all", "auto"] | None = None
    draws: int | None = None
    details: bool = True
    family_wise: bool = False
    """Whether a permutation test is judged among all those of the model's checks."""

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence_level < 1:
            raise UsageError(f"confidence level must lie between 0.5 and 1, got {self.confidence_level}")
        if isinstance(self.probes, int) and self.probes < 2:
            raise UsageError(
                f"at least 2 probes are needed for an interval, got {self.probes}; use 'all' for exact values"
            )
        if isinstance(self.probes, int) and self.probes >= 2**63:
            raise UsageError("no table has 2**63 rows to probe; use 'all' for exact values")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, got {self.seed}")
        if self.seed >= 2**63:  # what generators take
            raise UsageError("seed must be less than 2**63")
        if self.draws is not None and self.draws < 1:
            raise UsageError(f"at least 1 draw of a null is needed, got {self.draws}")

    def probe_count(self, population: int) -> int:
        """How many of ``population`` rows are probed."""
        if isinstance(self.probes, int):
            return min(self.probes, population)
        whole = self.probes == "all" or population <= EXACT_UP_TO
        return population if whole else DEFAULT_PROBES

    def sampled(self, usual: int) -> int:
        """How many units a measure samples that usually takes ``usual``, however large the population is."""
        return self.probes if isinstance(self.probes, int) else usual

    def drawn(self, usual: int) -> int:
        """How many draws of a null a measure makes that usually makes ``usual``."""
        return usual if self.draws is None else min(usual, self.draws)


_T = TypeVar("_T")
_DEFAULT = Settings()
_current: ContextVar[Settings] = ContextVar("embcheck_settings")
_rule: ContextVar[Callable[[float, float], bool]] = ContextVar("embcheck_rule")


@contextmanager
def in_force(variable: ContextVar[_T], value: _T) -> Iterator[_T]:
    """Give a variable a value for the ``with`` block."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def current() -> Settings:
    """The settings in force: those of the run, or the defaults outside one."""
    return _current.get(_DEFAULT)


def using(settings: Settings) -> AbstractContextManager[Settings]:
    """Put ``settings`` in force for the ``with`` block."""
    return in_force(_current, settings)


def using_rule(rule: Callable[[float, float], bool]) -> AbstractContextManager[object]:
    """Put a rule in force for the ``with`` block: whether an interval decides all claims on it."""
    return in_force(_rule, rule)


def is_decided(low: float, high: float) -> bool:
    """Whether an interval decides the claims in force; outside a run there are none, and nothing does."""
    rule = _rule.get(None)
    return rule is not None and rule(low, high)


def in_ci() -> bool:
    """Whether this process runs in continuous integration (the variable ``CI`` is set, and not to 0 or false)."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def prepare_process(*, is_worker: bool = False) -> None:
    """Set up a process that is there to run checks, where the user has not chosen. Call it before torch is imported.

    By default idle threads of PyTorch's pool spin. On cores shared with anything else (another xdist worker, another
    job) each spinning thread keeps the one that it waits for from running: a check of the demo model was seen to take
    80 s instead of 23 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # NumPy's products are small here; PyTorch makes the large ones. Two threads of OpenBLAS that wait for each other on
    # shared cores were seen to take 39 s for what one does in 2 s.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Dask's nannies set theirs for every worker: with it glibc clears the pages of each block of 128 KB and more anew,
    # which doubled the time of a part.
    if not {item for item in os.environ.items() if item[0].startswith("MALLOC_")} - {_OF_DASK}:
        _return_memory()
        if is_worker:
            _keep_little()


def _keep_little() -> None:
    """Have glibc keep less, and all threads' blocks in one heap: 480 instead of 530 MB of a Dask worker, no slower."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENAS, 1)
        mallopt(_TRIM_THRESHOLD, 32 * 2**20)
        mallopt(_MMAP_THRESHOLD, 6 * 2**20)


def give_back_memory() -> None:
    """Have glibc give what it holds between blocks in use back to the system: a worker's memory is counted."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _return_memory() -> None:
    """Have glibc give blocks of 16 MB and more back to the system when they are freed; other libraries do as they do.

    By default it keeps ever larger ones, for each thread its own, with holes between them: the default properties of a
    matrix of 262,144 x 640 were seen to hold 460 to 650 MB, and hold 440 so, in the same time.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # neither macOS nor Windows nor musl has it
        return
    mallopt(_TRIM_THRESHOLD, 64 * 2**20)
    mallopt(_MMAP_THRESHOLD, 16 * 2**20)
