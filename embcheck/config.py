"""What a run is told to do: command line over ``EMBCHECK_*`` variables over ``[tool.embcheck]`` over defaults.

.. code-block:: toml

    [tool.embcheck]
    models = ["demo", "glove=npy:glove.npy,vocab=words.txt"]
    confidence = 0.99

    [tool.embcheck.model.demo]
    exceptions = ["analogy_rank[aunt]", "ascii_anti_alignment"]

An exception is a check that is expected not to hold on that model; one that starts to hold is a failure.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from embcheck.errors import ConfigError
from embcheck.options import OPTIONS
from embcheck.settings import Settings
from embcheck.values import Origin, closest, convert, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from embcheck.run import Check
    from embcheck.spec import ModelSpec

__all__ = ["Config", "check_exceptions", "resolve"]

_PREFIX = "EMBCHECK_"
_OTHERS = frozenset({"EMBCHECK_CACHE"})  # no option: where the sources keep what they read from the hub


@dataclass(frozen=True, slots=True)
class Config:
    """The resolved options of a run."""

    models: tuple[ModelSpec, ...]
    settings: Settings
    device: str
    dtype: str | None
    population: Literal["known", "all"]
    matrix: Literal["input", "output"]
    tensor: str | None
    property: tuple[str, ...]
    """Globs that select checks; none selects all."""
    properties: tuple[Path, ...]
    """More property files or folders."""
    control: bool
    json: Path | None
    show: Literal["fail", "all", "none"]
    configured: bool
    """Whether a ``[tool.embcheck]`` table was found."""
    file: Path | None
    """The file it was found in."""
    known_exceptions: Mapping[str, tuple[str, ...]]
    """For a model's alias, the checks expected not to hold: ids, or ids with parameters."""

    def placed(self, spec: ModelSpec) -> ModelSpec:
        """The spec with the matrix and tensor that were asked for."""
        return spec.having(matrix=None if self.matrix == "input" else self.matrix, tensor=self.tensor)

    def exceptions(self, alias: str) -> tuple[str, ...]:
        """The checks that are expected not to hold on the model of that alias."""
        return self.known_exceptions.get(alias, ())

    def expected(self, alias: str, check: Check) -> bool:
        """Whether a check is expected to hold on the model of that alias."""
        return not {check.declaration.id, check.label} & set(self.exceptions(alias))


def resolve(given: Mapping[str, object], *, root: Path) -> Config:
    """Resolve the options of a run.

    Parameters
    ----------
    given
        Options from the command line, by name; ``None`` and empty sequences count as not given. Values may be text.
    root
        Folder from which ``pyproject.toml`` is looked for, upwards.

    Raises
    ------
    ConfigError
        An unknown key, variable or option, or a value of the wrong kind.
    SpecError
        A model spec that can't be parsed, or two models of one alias.
    """
    file, table = _table(root)
    exceptions = _exceptions(file, table)
    values: dict[str, Any] = {option.name: option.default for option in OPTIONS}
    values.update(_from_file(file, table))
    values.update(_from_environment(os.environ))
    values.update(_from_command_line(given))
    settings = Settings(seed=values.pop("seed"), confidence_level=values.pop("confidence"), probes=values.pop("probes"))
    models = values.pop("model")
    config = Config(
        models=models,
        settings=settings,
        configured=file is not None,
        file=file,
        known_exceptions=MappingProxyType(exceptions),
        **values,
    )
    return replace(config, models=tuple(config.placed(model) for model in models))


def check_exceptions(config: Config, checks: Iterable[Check]) -> None:
    """Check that every configured exception names a known check.

    Parameters
    ----------
    config
        The resolved options.
    checks
        Every check there is, before any selection by glob.

    Raises
    ------
    ConfigError
        An exception names none of them.
    """
    known = list(dict.fromkeys(name for check in checks for name in (check.declaration.id, check.label)))
    for alias, names in config.known_exceptions.items():
        for name in names:
            if name not in known:
                where = f"{config.file}: [tool.embcheck.model.{alias}] exceptions"
                raise ConfigError(f"{where}: no check is called {name!r}; {closest(name, known)}")


# --- the four places that options come from ---------------------------------------------------------------------


def _from_command_line(given: Mapping[str, object]) -> dict[str, Any]:
    known = {option.name: option for option in OPTIONS}
    found = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"there is no option {name!r}; {closest(name, list(known))}")
        if value is not None and value not in ((), []):
            found[name] = convert(known[name], value, Origin(f"option {name}"))
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {option.variable: option for option in OPTIONS}
    found = {}
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name in _OTHERS:
            continue
        if name not in known:
            got = f"{name}={environment[name]!r}"
            raise ConfigError(f"unknown environment variable {got}; {closest(name, list(known))}")
        option, origin = known[name], Origin(f"environment variable {name}")
        if text := environment[name].strip():
            found[option.name] = convert(option, _words(text, origin) if option.multiple else text, origin)
    return found


def _from_file(file: Path | None, table: Mapping[str, object]) -> dict[str, Any]:
    known = {option.key: option for option in OPTIONS}
    found = {}
    for key, value in table.items():
        if key == "model":
            continue
        if key not in known:
            _unknown_key(file, "[tool.embcheck]", key, value, [*known, "model"])
        option = known[key]
        origin = Origin(f"{file}: [tool.embcheck] {key}", None if file is None else file.parent)
        typed = isinstance(value, bool) if option.kind == "flag" else not isinstance(value, bool)
        if not typed or (option.kind in {"integer", "number"} and isinstance(value, str)):
            wrong(origin, option, value)
        found[option.name] = convert(option, value, origin)
    return found


def _exceptions(file: Path | None, table: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    models = table.get("model", {})
    found = {}
    if not isinstance(models, dict):
        raise ConfigError(
            f"{file}: [tool.embcheck] model must hold a table for each alias, got {models!r}; list specs under 'models'"
        )
    for alias, settings in models.items():
        where = f"[tool.embcheck.model.{alias}]"
        if not isinstance(settings, dict):
            raise ConfigError(f"{file}: {where} must be a table, got {settings!r}")
        for key, value in settings.items():
            if key != "exceptions":
                _unknown_key(file, where, key, value, ["exceptions"])
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise ConfigError(f"{file}: {where} exceptions must be a list of check names, got {value!r}")
            found[alias] = tuple(value)
    return found


def _table(root: Path) -> tuple[Path | None, Mapping[str, object]]:
    """The nearest ``[tool.embcheck]``, from ``root`` upwards; files that say nothing of embcheck are passed over."""
    start = root.resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        try:
            text = file.read_text(encoding="utf-8")
            if "embcheck" not in text:
                continue
            table = tomllib.loads(text).get("tool", {}).get("embcheck")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: not valid TOML: {error}") from None
        if isinstance(table, dict):
            return file, table
        if table is not None:
            raise ConfigError(f"{file}: [tool.embcheck] must be a table, got {table!r}")
    return None, {}


def _words(text: str, origin: Origin) -> list[str]:
    """Several values in one variable, parted by white space and quoted as a shell would."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{origin.name}={text!r}: {error}") from None


def _unknown_key(file: Path | None, where: str, key: str, value: object, known: Sequence[str]) -> NoReturn:
    raise ConfigError(f"{file}: {where} unknown key {key!r} (= {value!r}); {closest(key, known)}")
