"""Where did a claim break? Evaluate about log2(n) of the checkpoints between a good one and a bad one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.claims import Verdict
from embcheck.errors import UsageError
from embcheck.run.session import Model, Session
from embcheck.spec import parse
from embcheck.sweep.plan import Checkpoint, at, checkpoints, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.checks.check import Check, Result
    from embcheck.run.session import Population
    from embcheck.settings import Settings
    from embcheck.spec import ModelSpec

__all__ = ["Broken", "between", "bisect"]


@dataclass(frozen=True, slots=True)
class Broken:
    """Two neighbouring checkpoints: the property holds on the first, and not on the second."""

    last_good: Checkpoint
    first_bad: Checkpoint
    evaluated: tuple[tuple[Checkpoint, Result], ...]
    """What was looked at, in order."""
    notes: tuple[str, ...] = ()
    """Which of them have broken rows, that no verdict is about."""


def between(good: str, bad: str, pattern: str | None = None) -> tuple[Checkpoint, ...]:
    """The checkpoints from one to another of a training run, by step, all read as these two are."""
    ends = [parse(good), parse(bad)]
    for end in ends:
        sources.check(end)
    if _way(ends[0]) != _way(ends[1]):
        raise UsageError(f"{good!r} and {bad!r} are not read in the same way; give both the same scheme and options")
    found = checkpoints(matching(pattern or _siblings(ends[0].target), ends[0]))
    places = []
    for end in ends:
        same = [i for i, one in enumerate(found) if (_path(one.spec), *_way(one.spec)) == (_path(end), *_way(end))]
        if not same:
            raise UsageError(f"{end.text!r} is not among the {len(found)} checkpoints; name them with --glob")
        places.append(same[0])
    first, last = places
    if found[first].model != found[last].model:
        raise UsageError(f"{good!r} and {bad!r} belong to different runs; bisect one of them")
    if first >= last:
        raise UsageError(
            f"{good!r} must be an earlier checkpoint than {bad!r}; their steps are "
            f"{found[first].step} and {found[last].step}"
        )
    return found[first : last + 1]


def _path(spec: ModelSpec) -> Path:
    return Path(spec.target).expanduser().resolve()


def _way(spec: ModelSpec) -> tuple[str, tuple[tuple[str, str], ...]]:
    """How a checkpoint is read."""
    named = at(spec, spec.target)
    return named.scheme, named.options


def _siblings(target: str) -> str:
    import re

    head, _, name = target.rstrip("/").rpartition("/")
    return f"{head or '.'}/" + re.sub(r"\d+", "[0-9]*", name)


def bisect(
    found: Sequence[Checkpoint],
    check: Check,
    settings: Settings,
    *,
    seen: Callable[[Checkpoint, Result], None] = lambda _one, _result: None,
    device: str = "auto",
    dtype: str | None = None,
    population: Population = "known",
) -> Broken:
    """Find two neighbouring checkpoints between which a check stops holding.

    Evaluates the middle of what is left: ceil(log2(n - 1)) checkpoints. An end is looked at only if the answer rests on
    it, so at most one more. Only a verdict of ``holds`` counts as good. Where the claim breaks and mends several times,
    one of the breaks is found.

    Parameters
    ----------
    found
        Checkpoints by step; the check holds on the first and not on the last.
    check, settings, device, dtype, population
        What is measured, and how.
    seen
        Called with each checkpoint and what was found on it.

    Raises
    ------
    UsageError
        There are fewer than two checkpoints; the check doesn't hold on any that was looked at, the first among them; or
        it holds on all, the last among them.
    """
    if len(found) < 2:
        raise UsageError(f"bisecting takes two checkpoints or more, got {len(found)}")
    evaluated: list[tuple[Checkpoint, Result]] = []
    notes: list[str] = []

    def holds(i: int) -> bool:
        checkpoint = found[i]
        load = partial(sources.load, checkpoint.spec, device=device, dtype=dtype, population=population)
        model = Model(checkpoint.spec, load)
        session = Session([model], settings)
        (loaded,) = session.loaded(model)
        if loaded.note:
            notes.append(f"step {checkpoint.step}: {loaded.note}")
        result = session.measure(check, model)
        if result.verdict is Verdict.ERROR:
            raise UsageError(f"{check.label} can't be run on {checkpoint.spec.text}: {result.reason}")
        evaluated.append((checkpoint, result))
        seen(checkpoint, result)
        return result.verdict is Verdict.HOLDS

    low, high = 0, len(found) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    if low == 0 and not holds(low):
        raise UsageError(f"{check.label} does not hold on {found[low].spec.text}, which was to be the good one")
    if high == len(found) - 1 and holds(high):
        raise UsageError(f"{check.label} holds on {found[high].spec.text}, which was to be the bad one")
    return Broken(found[low], found[high], tuple(evaluated), tuple(notes))
