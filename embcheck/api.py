"""The Python API: load a table, run checks on models. The command line runs checks through ``execute`` too."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embcheck import collect, record, sources, spec
from embcheck.errors import EmbcheckError, UsageError
from embcheck.progress import track
from embcheck.run import Result, checks_of, error_result, evaluate
from embcheck.settings import Settings
from embcheck.spec import ModelSpec
from embcheck.table import EmbeddingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from embcheck.run import Check

__all__ = ["Model", "Run", "check", "execute", "load", "models_of"]

Population = Literal["known", "all"]
_NOT_ALIAS = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What checks found on one or more models."""

    document: Mapping[str, Any]
    """The report, ``embcheck-report/1``."""
    results: tuple[Result, ...]
    """One for each model and check, in order."""
    load_errors: tuple[str, ...] = ()
    """Why models failed to load, where others did not."""

    @property
    def passed(self) -> bool:
        """Whether something ran and every check passed."""
        return bool(self.results) and all(result.passed for result in self.results)

    def save(self, path: str | Path) -> None:
        """Write the report to a file as JSON.

        Raises
        ------
        EmbcheckError
            It can't be written.
        """
        from embcheck.reports import json_file

        json_file.write(self.document, Path(path))


@dataclass(frozen=True, slots=True)
class Model:
    """A model to check: its name, and how to get its table once its turn has come."""

    spec: ModelSpec
    load: Callable[[], EmbeddingTable]


def load(
    model: Any,
    tokenizer: Any = None,
    *,
    device: str = "auto",
    dtype: str | None = None,
    population: Population = "known",
) -> EmbeddingTable:
    """An embedding table from a model spec or a live model.

    Parameters
    ----------
    model
        A model spec such as ``"demo"`` or a path, or a ``torch.nn.Module``.
    tokenizer
        The live model's tokenizer, or a list of its tokens.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. A live model's vectors stay where they are on ``auto``.
    dtype
        Convert the vectors to ``float32``, ``float16`` or ``bfloat16``.
    population
        Rows that claims are about: ``known`` leaves out padding, special, unused and unreachable ones.

    Raises
    ------
    UsageError
        The spec, device or dtype is wrong, or the tokenizer is missing or does not belong to the model.
    SourceError
        A file is missing or malformed.
    """
    if population not in {"known", "all"}:
        raise UsageError(f"population must be 'known' or 'all', got {population!r}")
    if isinstance(model, str | Path | ModelSpec):
        parsed = model if isinstance(model, ModelSpec) else spec.parse(str(model))
        return sources.load(parsed, device=device, dtype=dtype, population=population)
    table = model if isinstance(model, EmbeddingTable) else _live(model, tokenizer)
    placed = _placed(table, device, dtype)
    return placed if placed.kind == population else placed.with_population(population)


def check(  # noqa: PLR0913 - the options of the command line, all by keyword
    model: Any,
    *,
    properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
    tokenizer: Any = None,
    seed: int = 0,
    confidence_level: float = 0.95,
    probes: int | Literal["all"] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    population: Population | None = None,
    control: bool = False,
) -> Run:
    """Check properties on a model. Reads no configuration: what is not given has its default.

    Parameters
    ----------
    model
        A model spec, an ``EmbeddingTable``, a ``torch.nn.Module``, or a list of these.
    properties
        Globs over property ids, or functions declared with ``@claim``; by default every property that is found.
    tokenizer
        A live model's tokenizer, or a list of its tokens.
    seed, confidence_level, probes
        As in ``embcheck.settings.Settings``.
    device, dtype, population
        As in ``load``. An ``EmbeddingTable`` keeps its own where they are not given.
    control
        Also run each check on 20 random tables, where it must not hold.

    Raises
    ------
    UsageError
        An argument is wrong.
    SourceError
        The only model can't be read. One of several gives results with the verdict ``error`` instead.
    """
    settings = Settings(seed=seed, confidence_level=confidence_level, probes=probes)
    checks = _checks(properties)
    given = list(model) if isinstance(model, list | tuple) else [model]
    models = tuple(_model(one, tokenizer, device, dtype, population) for one in given)
    _refuse_equal_aliases(models)
    if device != "auto":
        sources.resolve_device(device)
    return execute(models, checks, settings=settings, control=control)


def models_of(
    specs: Sequence[ModelSpec], *, device: str, dtype: str | None, population: Population
) -> tuple[Model, ...]:
    """Models that are read from their specs when their turn comes."""
    return tuple(
        Model(one, partial(sources.load, one, device=device, dtype=dtype, population=population)) for one in specs
    )


def execute(
    models: Sequence[Model],
    checks: Sequence[Check],
    *,
    settings: Settings,
    device: str | None = None,
    control: bool = False,
    expected: Callable[[str, Check], bool] = lambda _alias, _check: True,
) -> Run:
    """Run every check on every model, one model in memory at a time.

    Parameters
    ----------
    models, checks
        What to run, in this order.
    settings
        How.
    device
        What the report calls the device; by default that of the first table.
    control
        Also run each check on random tables.
    expected
        Whether a check is expected to hold on the model of an alias.

    Raises
    ------
    EmbcheckError
        The only model failed to load. One of several gives ``error`` results, and the others run.
    """
    found = [_run_model(one, checks, settings, control=control, expected=expected) for one in models]
    errors = tuple(one.error for one in found if one.error is not None)
    if len(models) == 1 and errors:
        raise errors[0]
    timing = {"models": {one.record["alias"]: one.timing for one in found}}
    device = device or next((one.device for one in found if one.device), "none")
    document = record.document([one.record for one in found], settings=settings, device=device, timing=timing)
    return Run(document, tuple(result for one in found for result in one.results), tuple(map(str, errors)))


# --- one model --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    record: dict[str, Any]
    results: tuple[Result, ...]
    timing: dict[str, Any]
    device: str | None = None
    error: EmbcheckError | None = None


def _run_model(
    model: Model,
    checks: Sequence[Check],
    settings: Settings,
    *,
    control: bool,
    expected: Callable[[str, Check], bool],
) -> _Found:
    alias = model.spec.alias
    started = time.perf_counter()
    try:
        table = model.load()
    except EmbcheckError as error:
        failed = tuple(error_result(c, str(error), expected=expected(alias, c)) for c in checks)
        return _Found(record.model_record(model.spec, None, [r.record for r in failed]), failed, {}, error=error)
    loaded = time.perf_counter() - started
    results = tuple(
        _evaluate(c, table, settings, control=control, expected=expected(alias, c)) for c in track(checks, alias)
    )
    timing = {
        "load_seconds": loaded,
        "bytes_read": table.provenance.bytes_read,
        "results": {result.check.label: result.seconds for result in results},
    }
    place = record.model_record(model.spec, table, [r.record for r in results])
    return _Found(place, results, timing, str(table.vectors.device))


def _evaluate(check: Check, table: EmbeddingTable, settings: Settings, *, control: bool, expected: bool) -> Result:
    try:
        return evaluate(check, table, settings, control=control, expected=expected)
    except EmbcheckError as error:  # this property is at fault; the others may still run
        return error_result(check, str(error), expected=expected)


# --- arguments --------------------------------------------------------------------------------------------------


def _model(model: Any, tokenizer: Any, device: str, dtype: str | None, population: Population | None) -> Model:
    if isinstance(model, str | Path | ModelSpec):
        parsed = model if isinstance(model, ModelSpec) else spec.parse(str(model))
        sources.check(parsed)
    elif isinstance(model, EmbeddingTable):
        parsed, population = spec.parse(model.provenance.spec), population or model.kind
    else:
        name = _NOT_ALIAS.sub("-", type(model).__name__)
        parsed = ModelSpec("memory", name, "memory", name)
    placed = partial(load, model, tokenizer, device=device, dtype=dtype, population=population or "known")
    return Model(parsed, placed)


def _refuse_equal_aliases(models: Sequence[Model]) -> None:
    aliases = [model.spec.alias for model in models]
    for alias in aliases:
        if aliases.count(alias) > 1:
            raise UsageError(
                f"two models are called {alias!r}; give specs with alias= in front, or check them one by one"
            )


def _live(model: Any, tokenizer: Any) -> EmbeddingTable:
    import torch

    from embcheck.sources._live import from_module

    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"a model is a spec, an EmbeddingTable or a torch.nn.Module, got {type(model).__name__}")
    if tokenizer is None:
        raise UsageError(f"a live model ({type(model).__name__}) needs tokenizer=, or a list of its tokens")
    return from_module(model, tokenizer)


def _placed(table: EmbeddingTable, device: str, dtype: str | None) -> EmbeddingTable:
    import torch

    where = table.vectors.device if device == "auto" else sources.resolve_device(device)
    if dtype is not None and dtype not in sources.DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; choose one of {', '.join(sources.DTYPES)}")
    vectors = table.vectors.to(where, dtype=None if dtype is None else getattr(torch, dtype))
    return table if vectors is table.vectors else table.with_vectors(vectors)


def _checks(properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None) -> list[Check]:
    given = [properties] if isinstance(properties, str) or callable(properties) else list(properties or ())
    globs = [one for one in given if isinstance(one, str)]
    functions = [one for one in given if not isinstance(one, str)]
    for function in functions:
        if not hasattr(function, "__embcheck__"):
            raise UsageError(f"{function!r} is not a property; declare it with @claim")
    checks = checks_of(functions)
    collect.refuse_pytest_only(checks)
    return [*(collect.collect(globs=globs) if globs or not functions else []), *checks]
