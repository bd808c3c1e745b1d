"""The report as a JSON file, and the JSON Schema that it keeps to. Here values become JSON, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from embcheck import files
from embcheck.checks.record import SCHEMA, Report, builtins, schema_of, strict_json
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports.comparison import SCHEMA as COMPARISON
from embcheck.reports.comparison import Comparison
from embcheck.reports.diagnosis import SCHEMA as DIAGNOSIS
from embcheck.reports.diagnosis import Diagnosis
from embcheck.reports.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Read = TypeVar("_Read")

_LARGEST = 2**30


def dumps(document: msgspec.Struct | Mapping[str, Any]) -> str:
    """A report, or another command's document, as text: sorted keys, pure ASCII, no NaN, a newline at the end."""
    builtin = builtins(document) if isinstance(document, msgspec.Struct) else document
    return json.dumps(builtin, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write(document: msgspec.Struct | Mapping[str, Any], path: Path) -> None:
    """Write a report or another command's document to a file, whole or not at all."""
    check_writable(path)
    files.write(path, dumps(document))


def save(document: msgspec.Struct, path: str | Path) -> None:
    """Write a document from Python, where a name promises what is written.

    Raises
    ------
    UsageError
        The name ends as that of another kind of file does.
    EmbcheckError
        It can't be written.
    """
    if Path(path).suffix not in {"", ".json"}:
        raise UsageError(
            f"save writes JSON, so {str(path)!r} must end in .json; save_html writes a page, and "
            "to_dataframe().to_csv, where there is one, a table"
        )
    write(document, Path(path))


def read(path: Path) -> Report:
    """A report from a file. Keys that this version does not know are left out."""
    return _read(path, _parsed)


def read_any(path: Path) -> Report | Comparison | Diagnosis:
    """A report, a comparison or a diagnosis, from a file."""
    return _read(path, _parsed_as_any)


def _read(path: Path, parsed: Callable[[str], _Read]) -> _Read:
    try:
        return parsed(files.read(path, most=_LARGEST).decode("utf-8"))
    except OSError as error:
        raise EmbcheckError(f"can't read {str(path)!r}: {error.strerror or error}") from error
    except RecursionError:
        said = "it is nested too deeply"
    except msgspec.ValidationError as error:
        wrong, is_inside, where = str(error).rpartition(" - at `")
        said = f"{safe(where.rstrip('`'), 200)}: {safe(wrong, 200)}" if is_inside else f"$: {safe(where, 200)}"
    except ValueError as error:
        said = safe(str(error), 200)
    raise EmbcheckError(f"{str(path)!r} is no embcheck report: {said}")


def reread(report: Report) -> Report:
    """The report as its file gives it back, so that what is made of either is the same."""
    return _parsed(dumps(report))


def _parsed(text: str) -> Report:
    return msgspec.convert(strict_json(text), Report)


def _parsed_as_any(text: str) -> Report | Comparison | Diagnosis:
    document = strict_json(text)
    schema_name = document.get("schema") if isinstance(document, dict) else None
    if schema_name == COMPARISON:
        return msgspec.convert(document, Comparison)
    if schema_name == DIAGNOSIS:
        return msgspec.convert(document, Diagnosis)
    return msgspec.convert(document, Report)


def check_writable(path: Path) -> None:
    """Check what can be known before the work is done: that the folder is there, and that the path is no folder."""
    if path == files.STDOUT:
        return
    try:
        if path.is_dir():
            raise UsageError(f"can't write {str(path)!r}: it is a folder; name a file in it")
        if not path.resolve().parent.is_dir():
            raise UsageError(f"can't write {str(path)!r}: the folder {str(path.parent)!r} does not exist")
    except OSError as error:  # a name that no system has
        raise UsageError(f"can't write {str(path)!r}: {error.strerror or error}") from None


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report; the package ships it as ``embcheck-report-1.schema.json``."""
    return schema_of(Report, SCHEMA, "embcheck report, version 1")
