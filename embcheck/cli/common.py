"""What the commands share: options from the one table, coloured lines, notices."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from embcheck.config.options import option
from embcheck.files import STDOUT, writing_to
from embcheck.progress import cleared
from embcheck.reports.wording import WIDTH
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from embcheck.config.options import Option
    from embcheck.reports.wording import Line

MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")
OK, FAILED, INTERRUPTED, INTERNAL, USAGE, NOTHING_RAN = range(6)
_Command = TypeVar("_Command", bound="Callable[..., Any]")
_STYLES: dict[str, dict[str, Any]] = {
    "title": {"bold": True},
    "pass": {"fg": "green"},
    "fail": {"fg": "red"},
    "warn": {"fg": "yellow"},
    "dim": {"dim": True},
}


def options(*names: str) -> Callable[[_Command], _Command]:
    """Give a command some options of the table. Values stay text: `embcheck.config.config` checks them."""

    def decorate(command: _Command) -> _Command:
        command = click.option(
            "--traceback", is_flag=True, expose_value=False, help="Show where an internal error arose."
        )(command)
        for name in reversed(names):
            command = _click_option(option(name))(command)
        return command

    return decorate


def _click_option(spec: Option) -> Callable[[_Command], _Command]:
    unsaid = spec.default is None or spec.default is False or spec.default == ()
    text = spec.help if unsaid else f"{spec.help} [default: {spec.default}]"
    if spec.kind == "flag":
        return click.option(f"--{spec.flag}", is_flag=True, default=None, help=text)
    metavar = spec.metavar or "|".join(spec.choices)
    return click.option(f"--{spec.flag}", multiple=spec.multiple, metavar=metavar, help=text)


def notice(message: str) -> None:
    """One line on stderr, inert whoever wrote what it quotes; on a terminal broken between words."""
    text = f"embcheck: {inert_line(' '.join(message.split()))}"
    if sys.stderr.isatty():  # names and paths stay whole
        text = textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    click.echo(text, err=True)


def show_lines(make: Callable[[str], Iterable[Line]], *written: Path | None) -> None:
    """Print lines, inert, and coloured on a terminal; on stderr where one of the files that are written is stdout.

    A reader that has gone away is no error.
    """
    stream = sys.stderr if STDOUT in written else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with writing_to(stream), cleared():
        for line in make(encoding):
            text = inert_line(line.text).encode(encoding, "backslashreplace").decode(encoding)
            styled = click.style(text, **_STYLES[line.style]) if line.style in _STYLES else text
            click.echo(styled, file=stream, color=_colors())


def _colors() -> bool | None:
    """Whether to colour, whoever reads; none where a terminal decides: https://no-color.org, https://force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return False if os.environ.get("TERM") == "dumb" else None


@contextmanager
def without_interruption() -> Iterator[None]:
    """An interruption (Ctrl-C) while the block runs comes once it has ended, so that what it writes is written."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # others can't be interrupted
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
