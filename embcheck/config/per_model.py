"""What ``[tool.embcheck.model.<alias>]`` says of one model.

.. code-block:: toml

    [tool.embcheck.model.demo]
    exceptions = ["analogy_rank[aunt]"]       # expected not to hold; one that starts to is a failure
                                              # "neighbor_overlap[b]": not for demo and the later model b
    property = ["analogy_*"]                  # only these checks run on it
    device = "cpu"
    dtype = "float32"

    [tool.embcheck.model.demo.claims]         # other bounds and margins than the declared ones
    positive_cosine_bias = { above = 0.6, margin = 0.02 }
    "analogy_gain[plural]" = { above = 0.1 }

    [tool.embcheck.model.demo.parameters]     # only these values of a property's parameters
    analogy_gain = { relation = ["plural", "past_tense"] }
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from embcheck.checks.collect import is_selected, matches
from embcheck.claims import above, below, check_margin, within
from embcheck.config.options import option
from embcheck.config.values import Origin, closest, convert
from embcheck.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from embcheck.checks.evaluate import Check
    from embcheck.claims import Declaration

_KEYS = ("exceptions", "property", "device", "dtype", "claims", "parameters")
_BOUNDS: Mapping[str, Any] = {"above": above, "below": below, "within": within}
_CLAIM_KEYS = (*_BOUNDS, "margin", "bad")


@dataclass(frozen=True, slots=True)
class PerModel:
    """What the configuration says of one model."""

    exceptions: tuple[str, ...] = ()
    """Checks expected not to hold: ids, or ids with parameters."""
    property: tuple[str, ...] = ()
    """Globs that select the checks to run on it; none selects all."""
    device: str | None = None
    dtype: str | None = None
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id, or id with parameters: bounds, margin and direction instead of the declared ones."""
    parameters: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By id: the values of parameters that are checked."""


def read(file: Path | None, table: Mapping[str, object]) -> dict[str, PerModel]:
    """The settings of every model in a ``[tool.embcheck]`` table."""
    models = table.get("model", {})
    if not isinstance(models, dict):
        raise ConfigError(
            f"{file}: [tool.embcheck] model must hold a table for each alias, got {models!r}; list specs under 'models'"
        )
    return {alias: _read_one(f"{file}: [tool.embcheck.model.{alias}]", alias, given) for alias, given in models.items()}


def _read_one(where: str, alias: str, given: object) -> PerModel:
    if not isinstance(given, dict):
        raise ConfigError(f"{where.partition(': ')[0]}: [tool.embcheck.model.{alias}] must be a table, got {given!r}")
    for key, value in given.items():
        if key not in _KEYS:
            raise ConfigError(f"{where} unknown key {key!r} (= {value!r}); {closest(key, _KEYS)}")
    values: dict[str, Any] = {
        key: convert(option(key), given[key], Origin(f"{where} {key}")) for key in ("device", "dtype") if key in given
    }
    if "exceptions" in given:
        values["exceptions"] = _names(f"{where} exceptions", given["exceptions"])
    if "property" in given:
        values["property"] = convert(option("property"), given["property"], Origin(f"{where} property"))
    if "claims" in given:
        values["claims"] = {k: _claim(f"{where} claims {k}", v) for k, v in _table(where, "claims", given).items()}
    if "parameters" in given:
        tables = _table(where, "parameters", given)
        by_id = {k: _table(f"{where} parameters", k, tables) for k in tables}
        values["parameters"] = {
            k: {name: _values(f"{where} parameters {k} {name}", v) for name, v in own.items()}
            for k, own in by_id.items()
        }
    return PerModel(**values)


def _table(where: str, key: str, given: Mapping[str, object]) -> Mapping[str, object]:
    table = given[key]
    if not isinstance(table, dict):
        raise ConfigError(f"{where} {key} must be a table, got {table!r}")
    return table


def _names(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{where} must be a list of check names, got {value!r}")
    return tuple(value)


def _values(where: str, value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str | int | float) for each in values):
        raise ConfigError(f"{where} must be a list of the parameter's values, got {value!r}")
    return tuple(map(str, values))


def _claim(where: str, value: object) -> dict[str, Any]:
    """Bounds as the claims they make, margin and direction as they are."""
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"{where} must be a table such as {{ above = 0.5 }}, got {value!r}")
    claims: dict[str, Any] = {}
    for key, given in value.items():
        if key not in _CLAIM_KEYS:
            raise ConfigError(f"{where} unknown key {key!r} (= {given!r}); {closest(key, _CLAIM_KEYS)}")
        try:
            claims[key] = _one_claim(key, given)
        except (UsageError, TypeError) as error:
            raise ConfigError(f"{where} {key} = {given!r}: {error}") from None
    return claims


def _one_claim(key: str, given: Any) -> Any:
    numbers = given if isinstance(given, list) else [given]
    if key == "bad":
        check_margin(None, given)
        return given
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("expected a number" + (", low and high" if key == "within" else ""))
    if len(numbers) != (2 if key == "within" else 1):
        raise TypeError("expected [low, high]" if key == "within" else "expected one number")
    if key == "margin":
        check_margin(given, "both")
        return given
    return _BOUNDS[key](*numbers)


# --- applied to checks ----------------------------------------------------------------------------------------------


def adapt(model: PerModel, check: Check) -> Check | None:
    """The check with the model's own bounds; none where the configuration leaves it out for that model."""
    if not is_selected(check, model.property):
        return None
    for name, values in model.parameters.get(check.declaration.id, {}).items():
        if str(check.params.get(name)) not in values:
            return None
    given: dict[str, Any] = {}
    for name in (check.declaration.id, check.label):  # the more special one has the last word
        given |= model.claims.get(name, {})
    if not given:
        return check
    declared = check.declaration
    return replace(
        check,
        redeclared=replace(
            declared,
            claims=tuple(given.get(type(bound).__name__, bound) for bound in declared.claims),
            kind="claim" if given.keys() & _BOUNDS.keys() else declared.kind,  # what a project bounds, it claims
            margin=given.get("margin", declared.margin),
            bad=given.get("bad", declared.bad),
        ),
    )


def left_out(alias: str, model: PerModel, checks: Iterable[Check]) -> str | None:
    """Which properties of these checks a model's ``property`` list leaves out whole, if any, and what to do."""
    kept: dict[str, bool] = {}
    for check in checks:
        is_kept = is_selected(check, model.property)
        kept[check.declaration.id] = kept.get(check.declaration.id, False) or is_kept
    names = [name for name, is_kept in kept.items() if not is_kept]
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    said = f"{', '.join(names)} {are} left out by property = [...] of [tool.embcheck.model.{alias}]; add {them} there"
    return said if names else None


# --- checked against what is declared -------------------------------------------------------------------------------


def check_aliases(file: Path | None, models: Iterable[str], known: Sequence[str]) -> None:
    """Check that each model that has settings of its own is known; layers of a known one are."""
    for alias in models:
        if alias not in known and alias.partition("@layer")[0] not in known:
            raise ConfigError(
                f"{file}: [tool.embcheck.model.{alias}]: no model is called {alias!r}; {closest(alias, known)}"
            )


def check_names(file: Path | None, models: Mapping[str, PerModel], checks: Iterable[Check]) -> None:
    """Check that every name in the models' settings is that of a known check, bound, parameter or value."""
    by_id: dict[str, list[Check]] = {}
    for check in checks:
        by_id.setdefault(check.declaration.id, []).append(check)
    labels = {name: own for id_, own in by_id.items() for name in (id_, *(check.label for check in own))}
    for alias, model in models.items():
        where = f"{file}: [tool.embcheck.model.{alias}]"
        for name in model.exceptions:
            _check_name(f"{where} exceptions", name, labels)
        for name, given in model.claims.items():
            _check_name(f"{where} claims", name, labels)
            _check_bounds(f"{where} claims {name}", given, labels[name][0].declaration)
        for name, parameters in model.parameters.items():
            _check_name(f"{where} parameters", name, by_id)
            _check_parameters(f"{where} parameters {name}", parameters, by_id[name])
        for glob in model.property:
            if not any(matches(check, glob.removeprefix("!")) for own in by_id.values() for check in own):
                raise ConfigError(
                    f"{where} property: no check matches {glob!r}; {_closest(glob.removeprefix('!'), labels)}"
                )


def _check_bounds(where: str, given: Mapping[str, Any], declaration: Declaration) -> None:
    own = [type(bound).__name__ for bound in declaration.claims]
    for key in given:
        if key not in _BOUNDS and declaration.of_pairs:
            raise ConfigError(
                f"{where}: the property is about two models and is not compared with a baseline, no {key!r}"
            )
        if key in _BOUNDS and key not in own:
            raise ConfigError(f"{where}: the property claims no {key!r}; it claims {', '.join(own)}")


def _check_parameters(where: str, parameters: Mapping[str, Sequence[str]], checks: Sequence[Check]) -> None:
    for name, values in parameters.items():
        known = list(dict.fromkeys(str(check.params[name]) for check in checks if name in check.params))
        if not known:
            own = list(checks[0].params)
            raise ConfigError(
                f"{where}: no parameter is called {name!r}; {closest(name, own) if own else 'it has none'}"
            )
        for value in values:
            if value not in known:
                raise ConfigError(f"{where} {name}: no value is called {value!r}; {closest(value, known)}")


def _check_name(where: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"{where}: no check is called {name!r}; {_closest(name, known)}")


def _closest(name: str, known: Collection[str]) -> str:
    hint = closest(name, list(known))
    return hint if hint.endswith("?") else f"{hint} (embcheck list has all)"
