"""The report as a JSON file, and the JSON Schema that it keeps to."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["check_writable", "dumps", "read", "schema", "write"]


def dumps(document: Mapping[str, Any]) -> str:
    """The document as text: sorted keys, pure ASCII, no NaN, a newline at the end.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write the document to a file, whole or not at all: a temporary file beside it takes its place.

    Raises
    ------
    EmbcheckError
        The file can't be written.
    """
    text = dumps(document)
    check_writable(path)
    try:
        if path.exists() and not path.is_file():  # a pipe or /dev/stdout: nothing to replace
            path.write_text(text, encoding="ascii")
        else:
            files.replace(path.resolve(), text)
    except OSError as error:
        raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def read(path: Path) -> dict[str, Any]:
    """A report from a file, held against the schema.

    Raises
    ------
    EmbcheckError
        The file can't be read, or holds no report.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
        wrong = best_match(Draft202012Validator(schema()).iter_errors(document))
    except OSError as error:
        raise EmbcheckError(f"can't read {str(path)!r}: {error.strerror or error}") from error
    except RecursionError:
        raise EmbcheckError(f"{str(path)!r} is no embcheck report: it is nested too deeply") from None
    except ValueError as error:
        raise EmbcheckError(f"{str(path)!r} is no embcheck report: {_short(str(error))}") from None
    if wrong is not None:
        raise EmbcheckError(f"{str(path)!r} is no embcheck report: {_short(wrong.json_path)}: {_short(wrong.message)}")
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _short(text: str) -> str:
    """One line of a message that may quote the whole file."""
    return safe(text, 200)


def check_writable(path: Path) -> None:
    """Check what can be known before the work is done: that the folder is there, and that the path is no folder.

    Raises
    ------
    UsageError
        It is one, or the folder is missing.
    """
    if path.is_dir():
        raise UsageError(f"can't write {str(path)!r}: it is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"can't write {str(path)!r}: the folder {str(path.parent)!r} does not exist")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the report document."""
    text = importlib.resources.files(__package__).joinpath("embcheck-report-1.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
