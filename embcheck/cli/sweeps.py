"""The commands over many checkpoints: ``sweep`` and ``bisect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.cli.common import notice, options, show_lines
from embcheck.config.config import resolve
from embcheck.errors import UsageError
from embcheck.reports.text import number, safe
from embcheck.reports.wording import Line
from embcheck.run.session import checks_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embcheck.checks.evaluate import Result
    from embcheck.sweep import Broken, Checkpoint, Swept

_MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")
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
    help="Where tasks run: process, thread or dask://HOST:PORT.",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Tasks at once. [default: one a core]")
@click.option(
    "--group", type=click.IntRange(min=1), metavar="N", help="Checks a task. [default: all of a checkpoint's]"
)
@click.option("--memory", type=click.FloatRange(min=0), metavar="GIB", help="What tasks here may take together.")
@options(*_MEASURING)
def sweep(specs: tuple[str, ...], **given: Any) -> int:
    """Check properties on many checkpoints, into one Parquet file with a row for each checkpoint and check.

    A checkpoint's step is the number in its name, its model the folder above. Run again, it computes only what is
    missing: results are known by the hashes of tensor and tokens, and by what was measured how.
    """
    from embcheck.sweep import sweep as run

    own = {name: given.pop(name) for name in ("globs", "out", "executor", "workers", "group", "memory")}
    config = resolve(given, root=Path.cwd())
    memory = own.pop("memory")
    try:
        found = run(
            specs,
            **own,
            memory=None if memory is None else int(memory * 2**30),
            properties=config.property,
            property_files=config.properties,
            settings=config.settings,
            device=config.device,
            dtype=config.dtype,
            population=config.population,
        )
    except KeyboardInterrupt:
        notice("what is finished is kept; the same command goes on from there")
        raise
    show_lines(lambda encoding: _swept(found, encoding))
    if found.errors:
        return 4
    return 0 if found.passed else 1


def _swept(found: Swept, encoding: str) -> Iterator[Line]:
    from embcheck.reports import series

    total = len(found.rows)
    yield Line(f"{total} results, {found.computed} computed now: {safe(str(found.path), 200, encoding=encoding)}")
    yield from series.lines(found.rows, encoding=encoding)


@click.command(short_help="Find the checkpoint where a claim broke.")
@click.argument("good")
@click.argument("bad")
@click.option("--glob", "pattern", metavar="PATTERN", help="The checkpoints. [default: those named like GOOD and BAD]")
@options(*_MEASURING)
def bisect(good: str, bad: str, pattern: str | None, **given: Any) -> int:
    """Find two neighbouring checkpoints between which a check stops holding, evaluating about log2(n) of them.

    GOOD and BAD are checkpoints of one training run; --property must select one check.
    """
    from embcheck.sweep import bisect as run
    from embcheck.sweep.bisect import between

    config = resolve(given, root=Path.cwd())
    checks = [check for check in checks_for(config, ()) if check.is_whole]
    if len(checks) != 1:
        names = ", ".join(check.label for check in checks[:8])
        raise UsageError(f"--property must select one check, and selects {len(checks)}: {names}")
    found = between(good, bad, pattern)
    notice(f"{len(found)} checkpoints; {checks[0].label}")
    broken = run(
        found,
        checks[0],
        config.settings,
        seen=_seen,
        device=config.device,
        dtype=config.dtype,
        population=config.population,
    )
    show_lines(lambda encoding: _broken(broken, encoding))
    return 0


def _seen(one: Checkpoint, result: Result) -> None:
    notice(f"step {one.step}: {_says(result)}")


def _says(result: Result) -> str:
    if result.estimate is None:
        return f"{result.verdict}: {result.reason}"
    one = result.estimate
    return f"{result.verdict}, {one.name} {number(one.value)} [{number(one.low)}, {number(one.high)}]"


def _broken(broken: Broken, encoding: str) -> Iterator[Line]:
    found = {one.step: result for one, result in broken.evaluated}
    for word, one in (("last good", broken.last_good), ("first bad", broken.first_bad)):
        where = safe(one.spec.text, 200, encoding=encoding)
        yield Line(f"{word}  {where}  {_says(found[one.step])}", "pass" if word == "last good" else "fail")
    yield Line(f"{len(broken.evaluated)} checkpoints evaluated", "dim")


COMMANDS: Sequence[click.Command] = (sweep, bisect)
