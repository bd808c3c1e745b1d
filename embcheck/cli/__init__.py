"""The ``embcheck`` program, and the one place where errors become exit codes.

======  ==========================================================
0       every check passed
1       a check failed
2       interrupted
3       internal error
4       wrong usage, model spec, file or configuration
5       nothing ran
======  ==========================================================
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcheck.cli import baselines, check, compare, explore, report, selftest, sweeps
from embcheck.cli.common import INTERNAL, INTERRUPTED, OK, USAGE, notice
from embcheck.errors import EmbcheckError, UsageError
from embcheck.settings import prepare_process

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_TRACEBACK = "--traceback"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    prepare_process()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other libraries' warnings are no news to who asked about a model
        return _guarded(given)


def _guarded(arguments: list[str]) -> int:
    try:
        _require_folder()
        return int(program.main(arguments, "embcheck", standalone_mode=False) or OK)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        notice(f"error: {error.format_message()}")
        return USAGE
    except EmbcheckError as error:
        notice(f"error: {error}")
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        notice("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost boundary: whatever it is, the exit code must be 3
        if _TRACEBACK in arguments:
            traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        notice(f"internal error: {type(error).__name__}: {error} ({where}); {_TRACEBACK} shows more")
        return INTERNAL


def _require_folder() -> None:
    """Every path is meant from the working directory, which may have been deleted."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory can't be used ({error.strerror}); change to one that is there"
        ) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="embcheck", message="%(prog)s %(version)s")
def program() -> None:
    """Property tests for embedding matrices."""


_GROUPS = (check, explore, baselines, compare, report, sweeps, selftest)
for _command in (command for group in _GROUPS for command in group.COMMANDS):
    program.add_command(_command)
