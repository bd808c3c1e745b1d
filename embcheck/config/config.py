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
from typing import TYPE_CHECKING, Any, Literal

from embcheck import files
from embcheck.config import per_model
from embcheck.config.options import OPTIONS
from embcheck.config.per_model import PerModel
from embcheck.config.values import Origin, closest, convert, wrong
from embcheck.errors import ConfigError
from embcheck.settings import Settings, in_ci

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from embcheck.checks.check import Check, GateMode
    from embcheck.spec import ModelSpec

_PREFIX = "EMBCHECK_"
BASELINES = "embcheck-baselines"
_OUTPUTS = frozenset({"json", "html", "summary", "baseline_dir"})
_OTHERS = frozenset({"EMBCHECK_CACHE"})  # no option: where the sources keep what they read from the hub


@dataclass(frozen=True, slots=True)
class Config:
    """The resolved options of a run."""

    models: tuple[ModelSpec, ...]
    """As they are named; `config.models.needed` has what they stand for."""
    settings: Settings
    device: str
    dtype: str | None
    population: Literal["known", "all"]
    matrix: Literal["input", "output"]
    tensor: str | None
    executor: str | None
    workers: int | None
    states: Path | None
    property: tuple[str, ...]
    """Globs that select checks; none selects all."""
    properties: tuple[Path, ...]
    """More property files or folders."""
    control: bool
    explain: bool
    json: Path | None
    html: Path | None
    show: Literal["fail", "rows", "all", "none"]
    configured: bool
    """Whether a ``[tool.embcheck]`` table was found."""
    file: Path | None
    """The file it was found in."""
    gate: GateMode
    baseline_dir: Path
    missing_baseline: Literal["fail", "warn", "ignore"] | None
    update: tuple[str, ...]
    summary: Path | None
    root: Path
    """Folder of the project: that of the configuration file, or the one that was looked from."""
    per_model: Mapping[str, PerModel]
    """For a model's alias, what the configuration says of it alone."""
    asks_for_baselines: bool = False
    """Whether the folder of the baselines was named, and nothing else said whether they decide."""
    configured_models: tuple[ModelSpec, ...] = ()
    """Those of the configuration file, checked in this run or not."""

    def outputs(self) -> tuple[Path | None, ...]:
        """The files that a report is written to, where they are asked for."""
        return self.json, self.html, self.summary

    def known_aliases(self) -> tuple[str, ...]:
        """Of every model that is known, checked in this run or not."""
        specs = (*self.configured_models, *self.models)
        return tuple(dict.fromkeys([*(spec.alias for spec in specs), *self.per_model]))

    def of(self, alias: str) -> PerModel:
        """What the configuration says of the model of that alias."""
        return self.per_model.get(alias, PerModel())

    def placed(self, spec: ModelSpec) -> ModelSpec:
        """The spec with the matrix and tensor that were asked for."""
        return spec.having(matrix=None if self.matrix == "input" else self.matrix, tensor=self.tensor)

    def expected(self, alias: str, check: Check) -> bool:
        """Whether a check is expected to hold on the model of that alias."""
        return not {check.declaration.id, check.label} & set(self.of(alias).exceptions)


def resolve(given: Mapping[str, object], *, root: Path) -> Config:
    """Resolve the options of a run."""
    file, table = _table(root)
    return _resolve(given, os.environ, file, table, root)


def unconfigured(root: Path) -> Config:
    """The defaults, for a run whose configuration is wrong but may play no part in it."""
    return replace(_resolve({}, {}, None, {}, root), configured=True)


def _resolve(
    given: Mapping[str, object],
    environment: Mapping[str, str],
    file: Path | None,
    table: Mapping[str, object],
    root: Path,
) -> Config:
    models_own = per_model.read(file, table)
    values: dict[str, Any] = {option.name: option.default for option in OPTIONS}
    from_file = _from_file(file, table)
    values.update(from_file)
    values.update(_from_environment(environment))
    values.update(_from_command_line(given))
    base = root.resolve() if file is None else file.parent
    if values["update"] and not given.get("update") and in_ci():
        raise ConfigError("in CI a baseline is updated only with --update on the command line, not by configuration")
    asks_for_baselines = values["baseline_dir"] is not None and values["gate"] is None
    values["baseline_dir"] = values["baseline_dir"] or base / BASELINES
    values["gate"] = values["gate"] or ("both" if any(values["baseline_dir"].glob("*.json")) else "claims")
    settings = Settings(
        seed=values.pop("seed"),
        confidence_level=values.pop("confidence"),
        probes=values.pop("probes"),
        family_wise=values.pop("family_wise"),
    )
    models, configured_models = values.pop("model"), from_file.get("model", ())
    config = Config(
        models=models,
        settings=settings,
        configured=file is not None,
        file=file,
        root=base,
        per_model=MappingProxyType(models_own),
        asks_for_baselines=asks_for_baselines,
        **values,
    )
    if file is not None and files.is_in_any(file.parent, (model.target for model in models)):
        raise _models_own_error(file)
    placed, known = (tuple(map(config.placed, specs)) for specs in (models, configured_models))
    return replace(config, models=placed, configured_models=known)


# --- the four places that options come from ---------------------------------------------------------------------


def _from_command_line(given: Mapping[str, object]) -> dict[str, Any]:
    known = {option.name: option for option in OPTIONS}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"there is no option {name!r}; {closest(name, list(known))}")
        if value is not None and value not in ((), []):
            values[name] = convert(known[name], value, Origin(f"option {known[name].flag}"))
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {option.variable: option for option in OPTIONS}
    values = {}
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name in _OTHERS:
            continue
        if name not in known:
            got = f"{name}={environment[name]!r}"
            raise ConfigError(f"unknown environment variable {got}; {closest(name, list(known))}")
        option, origin = known[name], Origin(f"environment variable {name}")
        if text := environment[name].strip():
            values[option.name] = convert(option, _words(text, origin) if option.multiple else text, origin)
    return values


def _from_file(file: Path | None, table: Mapping[str, object]) -> dict[str, Any]:
    known = {option.key: option for option in OPTIONS}
    values = {}
    for key, value in table.items():
        if key == "model":
            continue
        if key not in known:
            hint = closest(key, [*known, "model"])
            raise ConfigError(f"{file}: [tool.embcheck] unknown key {key!r} (= {value!r}); {hint}")
        option = known[key]
        origin = Origin(f"{file}: [tool.embcheck] {key}", None if file is None else file.parent)
        typed = isinstance(value, bool) if option.kind == "flag" else not isinstance(value, bool)
        if not typed or (option.kind in {"integer", "number"} and isinstance(value, str)):
            wrong(origin, option, value)
        values[option.name] = convert(option, value, origin)
        is_output = file is not None and option.name in _OUTPUTS
        if is_output and not values[option.name].resolve().is_relative_to(origin.path(".").resolve()):
            raise ConfigError(
                f"{origin.name}: {value!r} lies outside of the project's folder, where a file may name no output; "
                f"give it as --{option.flag}"
            )
    return values


def _table(root: Path) -> tuple[Path | None, Mapping[str, object]]:
    """The nearest ``[tool.embcheck]``, from ``root`` upwards; files that say nothing of embcheck are passed over."""
    start = root.resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        try:
            text = files.read(file).decode("utf-8")
            if "embcheck" not in text:
                continue
            table = tomllib.loads(text).get("tool", {}).get("embcheck")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"{file}: can't be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:  # numbers of many digits, too
            raise ConfigError(f"{file}: not valid TOML: {error}") from None
        if isinstance(table, dict):
            if files.holds_model(folder):
                raise _models_own_error(file)
            return file, table
        if table is not None:
            raise ConfigError(f"{file}: [tool.embcheck] must be a table, got {table!r}")
    return None, {}


def _models_own_error(file: Path) -> ConfigError:
    return ConfigError(
        f"{file} lies beside a model's weights, and what comes with a model configures nothing; "
        "keep the project in a folder of its own, or start embcheck elsewhere"
    )


def _words(text: str, origin: Origin) -> list[str]:
    """Several values in one variable, parted by white space and quoted as a shell would."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{origin.name}={text!r}: {error}") from None
