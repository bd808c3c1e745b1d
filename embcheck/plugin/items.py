"""Which check each pytest item stands for: parameters, selection, known exceptions. Nothing here loads a table."""

from __future__ import annotations

import importlib
import inspect
import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import pytest

from embcheck.checks import collect
from embcheck.checks.check import Check, checks_of
from embcheck.checks.collect import select
from embcheck.claims import Declaration
from embcheck.errors import UsageError
from embcheck.run.session import check_names
from embcheck.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.config.config import Config
    from embcheck.run.session import Policy

TABLE_FIXTURE = "embcheck_table"


class ClaimNotHeld(pytest.fail.Exception):  # type: ignore[name-defined,misc] # a class behind a function, to mypy
    """A check that does not hold: a failure without a Python traceback, which a known exception excuses."""

    __module__ = "builtins"  # as pytest's own outcomes have it, so that reports show the bare name

    def __init__(self, message: str) -> None:
        super().__init__(message, pytrace=False)


def declaration_of(function_or_item: object) -> Declaration | None:
    """What ``@claim`` says of an item or a function, ``None`` for any other."""
    declaration = getattr(getattr(function_or_item, "obj", function_or_item), "__embcheck__", None)
    return declaration if isinstance(declaration, Declaration) else None


def wrapped_by_hypothesis(function: object) -> Declaration | None:
    """What ``@claim`` says of a function with ``@given`` above or below it, ``None`` for any other."""
    if not inspect.isfunction(function) or not hasattr(function, "is_hypothesis_test"):
        return None
    handle = getattr(function, "hypothesis", None)
    return declaration_of(function) or declaration_of(getattr(handle, "inner_test", None))


def specs_of(item: pytest.Item) -> tuple[ModelSpec, ...]:
    """The model that an item runs on, or the two; none where there are none for it."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    pair = params.get("tables")
    values = (params.get("table"), params.get(TABLE_FIXTURE), *(pair if isinstance(pair, tuple) else ()))
    return tuple(value for value in values if isinstance(value, ModelSpec))


def spec_of(item: pytest.Item) -> ModelSpec | None:
    """The model that an item's result stands under, ``None`` where no model was given."""
    return next(iter(specs_of(item)), None)


def check_of(item: pytest.Function) -> Check:
    """The check that an item of a declared property stands for."""
    declaration = declaration_of(item)
    names = declaration.parameters if declaration else ()
    second = specs_of(item)[1:]
    params = {name: item.callspec.params[name] for name in names}
    return Check(item.obj, params, second[0].alias if second else None)


# --- parameters ---------------------------------------------------------------------------------------------------


def parametrize(metafunc: pytest.Metafunc, declaration: Declaration, models: Sequence[ModelSpec]) -> None:
    """One item for each model, or pair of them, and each value of each parameter: ``name[alias-value]``."""
    if declaration.of_pairs:
        pairs = list(combinations(models, 2))
        ids: list[object] = ["-".join(spec.alias for spec in pair) for pair in pairs]
        metafunc.parametrize("tables", pairs or [None], ids=ids or [pytest.HIDDEN_PARAM], scope="session")
    else:
        over_models(metafunc, "table", models)
    for name, values in declaration.parameters.items():
        metafunc.parametrize(name, values, ids=[str(value) for value in values])
    if "rng" in inspect.signature(metafunc.function).parameters:
        metafunc.parametrize("rng", [None], ids=[pytest.HIDDEN_PARAM])  # made anew for each check when it runs


def over_models(
    metafunc: pytest.Metafunc, argument: str, models: Sequence[ModelSpec], *, indirect: bool = False
) -> None:
    """One item for each model, or a single one, to be skipped, where there is none."""
    ids: list[object] = [spec.alias for spec in models] or [pytest.HIDDEN_PARAM]
    metafunc.parametrize(argument, models or [None], ids=ids, indirect=indirect, scope="session")


# --- which items run ----------------------------------------------------------------------------------------------


def excuse(item: pytest.Function, config: Config) -> None:
    """Mark a known exception: it passes where it does not hold, and fails where it does or where it can't be run."""
    spec = spec_of(item)
    if spec is not None and not config.expected(spec.alias, check_of(item)):
        reason = f"[tool.embcheck.model.{spec.alias}] expects it not to hold"
        item.add_marker(pytest.mark.xfail(raises=ClaimNotHeld, strict=True, reason=reason), append=False)


def distinct(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The items without those of a property that a second file only imports."""
    first: dict[str, pytest.Function] = {}
    seen: dict[tuple[str, ...], pytest.Item] = {}
    kept = []
    for item in items:
        declaration = declaration_of(item)
        if declaration is not None and isinstance(item, pytest.Function):
            if _origin(first.setdefault(declaration.id, item)) != _origin(item):
                files = f"{_origin(first[declaration.id])[0]} and {_origin(item)[0]}"
                raise UsageError(f"two properties are called {declaration.id!r}: {files}; rename one")
            other = seen.setdefault(_key(item), item)
            if other.path != item.path:
                continue
            if other.nodeid != item.nodeid:
                raise UsageError(
                    f"{other.nodeid} and {item.nodeid} are one check: same model, property and parameters; "
                    f"give parameters through @claim(...) instead of parametrize"
                )
        kept.append(item)
    return kept


def chosen(items: Sequence[pytest.Item], config: Config, *, asked: bool) -> list[pytest.Item]:
    """The items without the declared ones that no glob matches. Plain tests stay, but those that came with embcheck."""
    globs = config.property
    checks = {item: check_of(item) for item in items if isinstance(item, pytest.Function) and declaration_of(item)}
    if asked and not checks:
        raise UsageError(
            f"no property matches {globs[0]!r}: none was collected; those that come with embcheck are collected by "
            "--pyargs embcheck.properties"
        )
    if checks and globs:  # a list in the configuration may name those that this run does not collect
        others = () if asked else checks_of(collect.functions(config.properties), config.known_aliases())
        select([*checks.values(), *others], globs)
    if not globs:
        return list(items)
    shipped = {Path(folder) for folder in importlib.import_module("embcheck.properties").__path__}
    return [
        item
        for item in items
        if (collect.is_selected(checks[item], globs) if item in checks else item.path.parent not in shipped)
    ]


def is_selected(item: pytest.Item, globs: Sequence[str]) -> TypeGuard[pytest.Function]:
    """Whether an item is one of a declared property that the globs, if any, select."""
    if not isinstance(item, pytest.Function) or declaration_of(item) is None:
        return False
    return collect.is_selected(check_of(item), globs)


def runs_on_its_model(item: pytest.Item, policy: Policy) -> bool:
    """Whether an item's check is about its model, and the model's configuration leaves it in."""
    spec, declaration = spec_of(item), declaration_of(item)
    if spec is None or declaration is None or not isinstance(item, pytest.Function):
        return True
    return declaration.applies_to(spec) and policy.adapt(spec.alias, check_of(item)) is not None


def lacks_its_pair(item: pytest.Item, count: int) -> bool:
    """Whether an item needs two models and there is one. Where there is none, it says so as any other does."""
    declaration = declaration_of(item)
    return declaration is not None and declaration.of_pairs and count == 1


def is_whole(config: pytest.Config) -> bool:
    """Whether all of the project was collected: no paths, or the folders and packages of properties only."""
    return config.args_source is not pytest.Config.ArgsSource.ARGS or not any(
        "::" in argument or argument.endswith(".py") for argument in config.args
    )


def check_settings(items: Sequence[pytest.Item], config: Config, *, whole: bool) -> None:
    """Check what the configuration says of single models against the declared checks."""
    if not whole or not config.per_model:
        return
    collected = [check_of(item) for item in items if isinstance(item, pytest.Function) and declaration_of(item)]
    ids = {check.declaration.id for check in collected}
    others = [function for function in collect.functions(config.properties) if function.__name__ not in ids]
    pairs = {check.function for check in collected if check.declaration.of_pairs}
    if collected:
        check_names(config, [*collected, *checks_of([*pairs, *others], config.known_aliases())])


def grouped(items: Sequence[pytest.Item], models: Sequence[ModelSpec]) -> list[pytest.Item]:
    """The items with those that need models in the order of models, at the places that such items had.

    Not every pytest groups what is parametrized directly by its value, and each change of model loads a table.
    """
    order = {spec: i for i, spec in enumerate(models)}
    places = {item: [order[s] for s in specs if s in order] for item in items if (specs := specs_of(item))}
    ordered = iter(sorted(places, key=places.__getitem__))
    return [next(ordered) if item in places else item for item in items]


def _key(item: pytest.Function) -> tuple[str, ...]:
    spec, check = spec_of(item), check_of(item)
    return (spec.alias if spec else "", check.declaration.id, json.dumps(check.record, sort_keys=True))


def _origin(item: pytest.Function) -> tuple[str, int]:
    """Where the function was written: the same under whatever module names its file was imported."""
    function: Callable[..., Any] = inspect.unwrap(item.function)
    return function.__code__.co_filename, function.__code__.co_firstlineno
