"""The project's ``pyproject.toml``, edited in place: what it says of other things stays as it is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from embcheck import files
from embcheck.errors import ConfigError, EmbcheckError
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embcheck.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Edited:
    """A file's new text, not written yet."""

    file: Path
    text: str

    def write(self) -> None:
        """Write it, whole or not at all."""
        try:
            files.replace(self.file.resolve(), self.text)
        except OSError as error:
            raise EmbcheckError(f"can't write {str(self.file)!r}: {error.strerror or error}") from error


def read_project(file: Path) -> tomlkit.TOMLDocument:
    """The file as a document that keeps its layout; an empty one where there is no file."""
    try:
        return tomlkit.parse(files.read(file).decode("utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, ValueError, RecursionError, TOMLKitError) as error:
        raise ConfigError(f"{file}: can't be edited: {error}") from None


def add_model(
    document: tomlkit.TOMLDocument,
    file: Path,
    spec: ModelSpec,
    exceptions: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
) -> Edited:
    """The file with one more model, and what is expected not to hold on it."""
    table = _table(_table(document, "tool", file, implicit=True), "embcheck", file)
    models = table.setdefault("models", tomlkit.array())
    text = _written(spec, file)
    if isinstance(models, str):
        table["models"] = models = tomlkit.array([models])  # type: ignore[arg-type]
    aliases = {parse(str(known)).alias: str(known) for known in models}
    if spec.alias not in aliases:
        models.append(text)
    elif aliases[spec.alias] != text:
        raise ConfigError(
            f"{file}: another model is called {spec.alias!r} ({aliases[spec.alias]}); put alias= before {spec.text}"
        )
    table.setdefault("gate", "both")
    own = _table(_table(table, "model", file, implicit=True), spec.alias, file)
    for key, value in options.items():
        own[key] = value
    own["exceptions"] = tomlkit.array()
    for alias, labels in exceptions.items():
        _except(_table(_table(table, "model", file, implicit=True), alias, file), labels, file)
    return Edited(file, tomlkit.dumps(document))


def _table(parent: Any, key: str, file: Path, *, implicit: bool = False) -> Any:
    table = parent.setdefault(key, tomlkit.table(is_super_table=implicit or None))
    if not hasattr(table, "setdefault"):
        raise ConfigError(f"{file}: {key} must be a table, got {table!r}")
    return table


def _except(table: Any, labels: Mapping[str, str], file: Path) -> None:
    """Add labels to a model's exceptions, one a line, each with the reason as its comment."""
    array = table.setdefault("exceptions", tomlkit.array())
    if not hasattr(array, "add_line"):
        raise ConfigError(f"{file}: exceptions must be a list, got {array!r}")
    for label, why in sorted(labels.items()):
        safe = "".join(c if c.isprintable() else "?" for c in why)
        array.add_line(label, comment=safe, indent="    ")
    if not array.as_string().endswith("\n]"):  # a comment must not swallow the bracket
        array.add_line(indent="")


def _written(spec: ModelSpec, file: Path) -> str:
    """The spec as it stands in the file: paths relative to the file's folder, the alias where it is not the default."""
    text = spec.text
    for path in (spec.target, *(path for _, path in spec.paths)):
        if spec.scheme not in {"demo", "random"} and not Path(path).expanduser().is_absolute() and Path(path).exists():
            text = text.replace(path, _relative(path, file), 1)
    return text if parse(text).alias == spec.alias else f"{spec.alias}={text}"


def _relative(path: str, file: Path) -> str:
    relative = Path(os.path.relpath(path, file.resolve().parent)).as_posix()
    return f"./{relative}" if path.startswith("./") and not relative.startswith(".") else relative
