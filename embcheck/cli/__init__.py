"""The ``embcheck`` program, where errors become exit codes; what a check found does in `embcheck.cli.check`.

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

import atexit
import gc
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_TRACEBACK = "--traceback"
_OK, _INTERRUPTED, _INTERNAL, _USAGE = 0, 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # the process ends with it, and what it leaves is not worth a search for cycles: 0.3 s
        atexit.register(gc.freeze)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other libraries' warnings are no news to who asked about a model
            return _guarded(given)
    except KeyboardInterrupt:  # also of one who is quicker than the imports
        sys.stderr.write("embcheck: interrupted\n")
        return _INTERRUPTED


def _guarded(arguments: list[str]) -> int:
    import click

    from embcheck.cli.common import notice
    from embcheck.cli.program import program
    from embcheck.errors import EmbcheckError
    from embcheck.files import writing_to
    from embcheck.settings import prepare_process

    prepare_process()
    try:
        _require_folder()
        code = int(program.main(arguments, "embcheck", standalone_mode=False) or _OK)
        with writing_to(sys.stdout):
            return code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
    except click.ClickException as error:
        notice(f"error: {error.format_message()}")
    except EmbcheckError as error:
        notice(f"error: {error}")
    except OSError as error:  # of a file that somebody named: its name may be none that a system has
        notice(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
    except click.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:  # noqa: BLE001 - the outermost boundary: whatever it is, the exit code must be 3
        if _TRACEBACK in arguments:
            traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        notice(f"internal error: {type(error).__name__}: {error} ({where}); {_TRACEBACK} shows more")
        return _INTERNAL
    return _USAGE


def _require_folder() -> None:
    """Every path is meant from the working directory, which may have been deleted."""
    from embcheck.errors import UsageError

    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory can't be used ({error.strerror}); change to one that is there"
        ) from None
