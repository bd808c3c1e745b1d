"""The commands over many checkpoints: ``sweep`` and ``bisect``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.cli.common import FAILED, NOTHING_RAN, OK, USAGE, notice, options, show_lines
from embcheck.config import per_model
from embcheck.config.config import resolve
from embcheck.config.models import load, named
from embcheck.config.per_model import PerModel
from embcheck.errors import UsageError
from embcheck.files import STDOUT
from embcheck.reports.text import number, safe
from embcheck.reports.wording import Line
from embcheck.run.session import all_checks, check_names, checks_for
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.evaluate import Result
    from embcheck.sweep import Broken, Checkpoint, Swept

_MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")
_PLACING = ("matrix", "tensor")
_globs = click.option(
    "--glob", "globs", multiple=True, metavar="PATTERN", help="Checkpoints on disk, such as 'runs/*/checkpoint-*'."
)


@click.command(short_help="Check many checkpoints, and go on after an interruption.")
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@_globs
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("sweep.parquet"), show_default=True, metavar="PATH"
)
@click.option(
    "--executor",
    default="process",
    show_default=True,
    metavar="NAME",
    help="Where tasks run: process, thread, dask://HOST:PORT or ray.",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Tasks at once. [default: one a core]")
@click.option(
    "--group", type=click.IntRange(min=1), metavar="N", help="Checks a task. [default: all of a checkpoint's]"
)
@click.option("--shard", metavar="I/N", help="The I-th of N parts; N of these may add to one file at once.")
@click.option("--memory", type=click.FloatRange(min=0), metavar="GIB", help="What tasks here may take together.")
@options(*_MEASURING, *_PLACING)
def sweep(specs: tuple[str, ...], **given: Any) -> int:
    """Check properties on many checkpoints, into one Parquet file with a row for each checkpoint and check.

    A checkpoint's step is the number in its name, its model the folder above. Run again, it computes only what is
    missing: results are known by the hashes of tensor and tokens, and by what was measured how.
    """
    from embcheck.sweep import checkpoints
    from embcheck.sweep import sweep as run
    from embcheck.table.pools import UnfinishedError

    own = {name: given.pop(name) for name in ("globs", "out", "executor", "workers", "group", "memory", "shard")}
    config = resolve(given, root=Path.cwd())
    if own["out"] == STDOUT:
        raise UsageError("--out is a file that a sweep adds to and goes on with; it can't be standard output")
    memory, shard, globs = (own.pop(name) for name in ("memory", "shard", "globs"))
    planned = [
        checkpoint.spec
        for checkpoint in checkpoints([named(config, spec) for spec in specs], globs, placed=config.placed)
    ]
    check_names(replace(config, models=tuple(planned)), all_checks(config))
    try:
        swept = run(
            planned,
            **own,
            shard=None if shard is None else _shard(shard),
            memory=None if memory is None else int(memory * 2**30),
            properties=config.property,
            property_files=config.properties,
            settings=config.settings,
            device=config.device,
            dtype=config.dtype,
            population=config.population,
            per_model=config.per_model,
        )
    except KeyboardInterrupt:
        notice("what is finished is kept; the same command goes on from there")
        raise
    except UnfinishedError as error:
        notice(f"error: {error}")
        return FAILED
    show_lines(lambda encoding: _swept(swept, encoding))
    if swept.errors:
        return USAGE
    if swept.is_empty:
        return NOTHING_RAN
    return OK if swept.passed else FAILED


def _shard(text: str) -> tuple[int, int]:
    place, slash, count = text.partition("/")
    if not (slash and place.isdecimal() and count.isdecimal()):
        raise UsageError(f"--shard must be a part of so many, such as 1/8, got {text!r}")
    return int(place), int(count)


def _swept(swept: Swept, encoding: str) -> Iterator[Line]:
    from embcheck.reports import series

    total = len(swept.own)
    yield Line(
        f"{counted(total, 'results')}, {swept.computed} computed now: {safe(str(swept.path), 200, encoding=encoding)}"
    )
    yield from (Line(safe(note, 300, encoding=encoding), "warn") for note in swept.notes)
    yield from series.lines(swept.own, encoding=encoding)


@click.command(short_help="Find the checkpoint where a claim broke.")
@click.argument("good")
@click.argument("bad")
@click.option("--glob", "pattern", metavar="PATTERN", help="The checkpoints. [default: those named like GOOD and BAD]")
@options(*_MEASURING, *_PLACING)
def bisect(good: str, bad: str, pattern: str | None, **given: Any) -> int:
    """Find two neighbouring checkpoints between which a check stops holding, evaluating about log2(n) of them.

    GOOD and BAD are checkpoints of one training run; --property must select one check.
    """
    from embcheck.diagnosis.diagnose import likely
    from embcheck.sweep import bisect as run
    from embcheck.sweep.bisect import between

    config = resolve(given, root=Path.cwd())
    ends = [named(config, end) for end in (good, bad)]
    checks = [check for check in checks_for(config, ()) if check.is_whole]
    if len(checks) != 1:
        names = ", ".join(check.label for check in checks[:8])
        raise UsageError(f"--property must select one check, and selects {len(checks)}: {names}")
    found = between(ends[0].text, ends[1].text, pattern)
    own = next((config.of(end.alias) for end in ends if end.alias in config.per_model), PerModel())
    check = per_model.adapt(own, checks[0]) or checks[0]
    notice(f"{counted(len(found), 'checkpoints')}; {check.label}")
    broken = run(
        found,
        check,
        config.settings,
        seen=_seen,
        device=config.device,
        dtype=config.dtype,
        population=config.population,
    )
    show_lines(lambda encoding: _broken(broken, encoding))
    tables = [load(config, checkpoint.spec) for checkpoint in (broken.last_good, broken.first_bad)]
    if said := likely(tables[0], tables[1], (broken.last_good.spec.text, broken.first_bad.spec.text)):
        notice(said)
    return 0


def _seen(one: Checkpoint, result: Result) -> None:
    notice(f"step {one.step}: {_says(result)}")


def _says(result: Result) -> str:
    if result.estimate is None:
        return f"{result.verdict}: {result.reason}"
    estimate = result.estimate
    return (
        f"{result.verdict}, {estimate.name} {number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"
    )


def _broken(broken: Broken, encoding: str) -> Iterator[Line]:
    yield from (Line(safe(note, 300, encoding=encoding), "warn") for note in broken.notes)
    found = {one.step: result for one, result in broken.evaluated}
    for word, checkpoint in (("last good", broken.last_good), ("first bad", broken.first_bad)):
        where = safe(checkpoint.spec.text, 200, encoding=encoding)
        yield Line(f"{word}  {where}  {_says(found[checkpoint.step])}", "pass" if word == "last good" else "fail")
    yield Line(f"{counted(len(broken.evaluated), 'checkpoints')} evaluated", "dim")


COMMANDS: Sequence[click.Command] = (sweep, bisect)
