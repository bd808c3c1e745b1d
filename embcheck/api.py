"""The Python API: load a table from a spec or a live model, check properties on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embcheck import sources, spec
from embcheck.checks import collect
from embcheck.checks.check import checks_of
from embcheck.config.models import refuse_equal_aliases
from embcheck.errors import UsageError
from embcheck.run.budget import Budget
from embcheck.run.run import Run
from embcheck.run.session import Model, Population, Session
from embcheck.settings import Settings
from embcheck.spec import ModelSpec
from embcheck.table import EmbeddingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from embcheck.checks.check import Check
    from embcheck.reports.comparison import Comparison
    from embcheck.reports.diagnosis import Diagnosis
    from embcheck.table.pools import Pool

__all__ = ["Run", "check", "compare", "diagnose", "load", "select"]

Matrix = Literal["input", "output"]
_NOT_ALIAS = re.compile(r"[^A-Za-z0-9._-]+")


def load(  # noqa: PLR0913 - how a table is read, all by keyword
    model: Any,
    tokenizer: Any = None,
    *,
    tokens: Sequence[str] | None = None,
    matrix: Matrix = "input",
    device: str = "auto",
    dtype: str | None = None,
    population: Population = "known",
    executor: str | Executor | None = None,
) -> EmbeddingTable:
    """An embedding table from a model spec, a live model, or a matrix with its tokens.

    Parameters
    ----------
    model
        A model spec such as ``"demo"`` or a path, a ``torch.nn.Module``, or a (V, d) array or tensor.
    tokenizer
        The live model's tokenizer, or a list of its tokens.
    tokens
        The V tokens of an array or tensor, one a row.
    matrix
        Which matrix of a model: its ``input`` embedding or its ``output`` matrix (unembedding).
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. A live model's vectors stay where they are on ``auto``.
    dtype
        Convert the vectors to ``float32``, ``float16`` or ``bfloat16``.
    population
        Rows that claims are about: ``known`` leaves out padding, special, unused and unreachable ones.
    executor
        Where the rows of a ``parquet:`` or ``npy:`` store are read and measured, part by part: a name as ``--executor``
        takes, or any `concurrent.futures.Executor`. By default here, in one piece.

    Raises
    ------
    UsageError
        An argument is wrong, or the tokenizer or the tokens are missing or do not belong to the model.
    SourceError
        A file is missing or malformed.
    NotMeasurable
        A live model has no output matrix.
    """
    if matrix not in {"input", "output"}:
        raise UsageError(f"matrix must be 'input' or 'output', got {matrix!r}")
    if population not in {"known", "all"}:
        raise UsageError(f"population must be 'known' or 'all', got {population!r}")
    if tokenizer is not None and isinstance(model, str | Path | ModelSpec | EmbeddingTable):
        raise UsageError(
            f"tokenizer= belongs to a live model, and {_named(model)} has tokens of its own; leave it out, or give the "
            "matrix with its tokens as embcheck.load(vectors, tokens=tokens)"
        )
    if isinstance(model, str | Path | ModelSpec):
        _refuse_tokens(model, tokens)
        parsed = model if isinstance(model, ModelSpec) else spec.parse(str(model))
        parsed = parsed.having(matrix="output" if matrix == "output" else None)
        return sources.load(parsed, device=device, dtype=dtype, population=population, pool=_pool(executor))
    if executor is not None:
        raise UsageError(f"executor= is for stores that are named by a spec, and {_named(model)} is in memory")
    table = _in_memory(model, tokenizer, tokens, matrix)
    placed = _placed(table, device, dtype)
    return placed if placed.kind == population else placed.with_population(population)


def check(  # noqa: PLR0913 - the options of the command line, all by keyword
    model: Any,
    *,
    properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
    tokenizer: Any = None,
    tokens: Sequence[str] | None = None,
    matrix: Matrix = "input",
    seed: int = 0,
    confidence_level: float = 0.95,
    probes: int | Literal["all", "auto"] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    population: Population | None = None,
    control: bool = False,
    explain: bool = False,
    family_wise: bool = False,
    max_seconds: float | None = None,
    executor: str | Executor | None = None,
) -> Run:
    """Check properties on a model. Reads no configuration: what is not given has its default.

    Parameters
    ----------
    model
        A model spec, an ``EmbeddingTable``, a ``torch.nn.Module``, a (V, d) array or tensor; a list of these, or a
        mapping that gives each a name. Properties of two models run on each pair of them.
    properties
        Globs over property ids, or functions declared with ``@claim``, each of a name of its own; by default every
        property that is found.
    tokenizer
        A live model's tokenizer, or a list of its tokens.
    tokens
        The tokens of an array or tensor, one a row.
    matrix
        As in ``load``, of every model.
    seed
        Every random choice derives from it.
    confidence_level
        Of every interval, strictly between 0.5 and 1.
    probes
        Number of probe tokens, or ``"all"``; by default all of a population of up to 32,000 rows, else 1,000.
    device
        As in ``load``. An ``EmbeddingTable`` stays where it is if none is given.
    dtype
        As in ``load``; by default as stored.
    population
        As in ``load``; by default ``known``, or what an ``EmbeddingTable`` has.
    control
        Also run each check on 20 random tables, where it must not hold.
    explain
        Also measure each claim that holds on tables that keep more and more of the model's, and say which is enough.
    family_wise
        Permutation tests hold only where their p-values do among all those of the model (Holm 1979).
    max_seconds
        How long the checks of each model may take, reading it included. Where that is too short, estimates are over
        fewer probes, with the wider intervals that go with it, and checks that don't fit are skipped. A check that has
        begun is not interrupted, so that a slow one of your own takes as long as it takes. What is left out depends on
        the machine.
    executor
        As in ``load``.

    Raises
    ------
    UsageError
        An argument is wrong.
    SourceError
        The only model can't be read. One of several gives results with the verdict ``error`` instead.
    KeyboardInterrupt
        The user interrupted; the message names the check that it was in, and its ``run`` is what was measured until
        then.
    """
    settings = Settings(seed=seed, confidence_level=confidence_level, probes=probes, family_wise=family_wise)
    names = tuple(map(str, model)) if isinstance(model, Mapping) else ()
    model = list(model.values()) if isinstance(model, Mapping) else model
    given = [single for each in (model if isinstance(model, list | tuple) else [model]) for single in _expanded(each)]
    if tokens is not None:
        if not any(map(_is_matrix, given)):
            _refuse_tokens(given[0], tokens)
        given = [load(single, tokens=tokens) if _is_matrix(single) else single for single in given]
    own = [isinstance(single, ModelSpec | EmbeddingTable) for single in given]
    tokenizers = [None if has_tokens and not all(own) else tokenizer for has_tokens in own]  # at least one is used
    about: dict[str, Any] = {"device": device, "dtype": dtype, "population": population, "matrix": matrix}
    about |= {} if executor is None else {"executor": executor}
    models = tuple(_model(single, t, **about) for single, t in zip(given, tokenizers, strict=True))
    models = _called(models, names) if names else models
    refuse_equal_aliases([model.spec for model in models])
    checks = select(properties, [later.spec.alias for later in models[1:]], [model.spec for model in models])
    if device != "auto":
        sources.resolve_device(device)
    budget = None if max_seconds is None else Budget(max_seconds)
    return Session(models, settings, control=control, explain=explain).run(checks, budget=budget)


def compare(  # noqa: PLR0913 - the options of the command line, all by keyword
    first: Any,
    second: Any,
    *,
    properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
    matrix: Matrix = "input",
    seed: int = 0,
    confidence_level: float = 0.95,
    probes: int | Literal["all", "auto"] | None = None,
    max_moved: float | None = None,
    min_overlap: float | None = None,
) -> Comparison:
    """The second model against the first: how far each property moved, and how far each row that both have did.

    Parameters
    ----------
    first, second
        Model specs, or ``EmbeddingTable`` as ``load`` gives them.
    properties
        As in ``check``; those without a ``margin`` are left out.
    matrix
        As in ``load``, of specs.
    seed, confidence_level, probes
        As in ``check``.
    max_moved
        Fail where a row moved farther than so much of its own length, or became zero or not finite.
    min_overlap
        Fail where the ten nearest rows overlap less than this (mean Jaccard, 0 to 1).

    Returns
    -------
    Comparison
        ``passes`` says whether no check and no limit fails, ``changes`` holds each check's and ``drift`` that of rows;
        ``to_dataframe()`` has a row a check.

    Raises
    ------
    UsageError
        An argument is wrong.
    SourceError
        A model can't be read.
    """
    from embcheck.run.comparison import of_checks

    for name, limit, most in (("max_moved", max_moved, 1e6), ("min_overlap", min_overlap, 1.0)):
        if limit is not None and not 0 <= limit <= most:
            raise UsageError(f"{name} must be a number from 0 to {most:g}, got {limit}")
    settings = Settings(seed=seed, confidence_level=confidence_level, probes=probes)
    given = (spec.parse(str(m)) if isinstance(m, str | Path) else m for m in (first, second))
    about: dict[str, Any] = {"population": None, "matrix": matrix, "device": "auto", "dtype": None}
    old, new = (_model(model, None, **about) for model in given)
    names = [place if m.spec.text == "memory" else m.spec.text for m, place in ((old, "first"), (new, "second"))]
    checks = select(properties)
    return of_checks((old, new), (names[0], names[1]), checks, settings, max_moved=max_moved, min_overlap=min_overlap)


def diagnose(reference: Any, candidate: Any, *, parents: Sequence[Any] = (), matrix: Matrix = "input") -> Diagnosis:
    """What made a candidate of its reference: causes with their parameters, or that none fits.

    Parameters
    ----------
    reference, candidate
        Model specs, or ``EmbeddingTable`` as ``load`` gives them. Of an encoder ``st:PATH`` and ``api:URL`` it is told
        what the server does otherwise.
    parents
        Two models that the candidate may be a merge of.
    matrix
        As in ``load``, of specs.

    Returns
    -------
    Diagnosis
        ``cause`` names them, ``causes`` holds each with its parameters, sentence and remedy, ``is_harmless()`` says
        whether claims can be trusted to be what they were.

    Raises
    ------
    UsageError
        There are not two parents, or an argument is no model.
    SourceError
        A model can't be read.
    """
    from embcheck.diagnosis.diagnose import of_encoder, of_tables

    if len(parents) not in {0, 2}:
        raise UsageError(f"a merge has two parents, got {len(parents)}")
    specs = [spec.parse(str(m)) if isinstance(m, str | Path) else m for m in (reference, candidate)]
    if [m.scheme if isinstance(m, ModelSpec) else "" for m in specs] == ["st", "api"]:
        return of_encoder(specs[0], load(specs[1]), (specs[0].alias, specs[1].alias))
    first, second, *others = (load(model, matrix=matrix) for model in (*specs, *parents))
    return of_tables(first, second, others, other=load(specs[0]) if matrix == "output" else None)


def _expanded(model: Any) -> tuple[Any, ...]:
    """A model as it is; a spec as those that it stands for."""
    if isinstance(model, list | tuple | float):
        raise _no_model(model)
    if isinstance(model, str | Path):
        model = spec.parse(str(model))
    return sources.expand(model) if isinstance(model, ModelSpec) else (model,)


def _named(model: Any) -> str:
    if isinstance(model, str | Path | ModelSpec):
        return f"the spec {str(model)!r}"
    return f"an {type(model).__name__}" if isinstance(model, EmbeddingTable) else f"a live {type(model).__name__}"


def _model(model: Any, tokenizer: Any, *, population: Population | None, matrix: Matrix, **about: Any) -> Model:
    if tokenizer is not None and isinstance(model, ModelSpec | EmbeddingTable):
        load(model, tokenizer)  # which refuses it, now rather than as the result of a check
    if isinstance(model, ModelSpec):
        parsed = model.having(matrix="output" if matrix == "output" else None)
        sources.check(parsed)
    elif isinstance(model, EmbeddingTable):
        parsed, population = spec.parse(model.provenance.spec), population or model.kind
    else:
        name = _NOT_ALIAS.sub("-", type(model).__name__)
        parsed = ModelSpec("memory", name, "memory", name)
    return Model(parsed, partial(load, model, tokenizer, matrix=matrix, population=population or "known", **about))


def _called(models: Sequence[Model], names: Sequence[str]) -> tuple[Model, ...]:
    """The models under the names that a mapping gives them."""
    if len(names) != len(models):
        raise UsageError(f"{len(names)} names for {len(models)} models: a spec of all layers stands for several")
    if bad := [name for name in names if _NOT_ALIAS.search(name) or not name]:
        raise UsageError(f"a model can't be called {bad[0]!r}; a name has letters, digits, '.', '_' and '-' only")
    pairs = zip(models, names, strict=True)
    return tuple(replace(model, spec=replace(model.spec, alias=name)) for model, name in pairs)


def _is_matrix(model: Any) -> bool:
    return hasattr(model, "shape") and hasattr(model, "dtype")


def _refuse_tokens(model: Any, tokens: object) -> None:
    if tokens is not None:
        raise UsageError(f"tokens= belongs to a matrix, and {_named(model)} has its own, or takes tokenizer=")


def _in_memory(model: Any, tokenizer: Any, tokens: Sequence[str] | None, matrix: Matrix) -> EmbeddingTable:
    """The table of what is in memory already."""
    import torch

    from embcheck.sources.models.live import from_module, output_of_module

    if isinstance(model, torch.nn.Module):
        _refuse_tokens(model, tokens)
        if tokenizer is None:
            raise UsageError(f"a live model ({type(model).__name__}) needs tokenizer=, or a list of its tokens")
        table = from_module(model, tokenizer)
        return table if matrix == "input" else output_of_module(table, model)
    if matrix == "output":
        raise UsageError("matrix= chooses one of a spec's or a live model's two, and this is one matrix already")
    if isinstance(model, EmbeddingTable):
        _refuse_tokens(model, tokens)
        return model
    if _is_matrix(model) and tokens is not None:
        return EmbeddingTable.from_arrays(model, tokens)
    if _is_matrix(model):
        raise UsageError(f"a matrix ({type(model).__name__}) needs tokens=, one a row")
    raise _no_model(model)


def _no_model(given: Any) -> UsageError:
    way_out = "; make lists of numbers a matrix with numpy.asarray" if isinstance(given, list | tuple | float) else ""
    kinds = "a spec, an EmbeddingTable, a torch.nn.Module or a matrix"
    return UsageError(f"a model is {kinds}, got {type(given).__name__}{way_out}")


def _pool(executor: str | Executor | None) -> Pool | None:
    if executor is None:
        return None
    from embcheck.table.pools import pool_of

    return pool_of(executor, None)


def _placed(table: EmbeddingTable, device: str, dtype: str | None) -> EmbeddingTable:
    import torch

    where = table.vectors.device if device == "auto" else sources.resolve_device(device)
    if dtype is not None and dtype not in sources.DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; choose one of {', '.join(sources.DTYPES)}")
    vectors = table.vectors.to(where, dtype=None if dtype is None else getattr(torch, dtype))
    return table if vectors is table.vectors else table.with_vectors(vectors)


def select(
    properties: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None,
    others: Sequence[str] = (),
    models: Sequence[ModelSpec] = (),
) -> list[Check]:
    """The checks of globs and of functions declared with ``@claim``; all that can be found where neither is given."""
    given = [properties] if isinstance(properties, str) or callable(properties) else list(properties or ())
    if properties is not None and not given:
        raise UsageError("properties is empty, so that there is nothing to check; leave it out for all of them")
    globs = [each for each in given if isinstance(each, str)]
    functions = [each for each in given if not isinstance(each, str)]
    for function in functions:
        if not hasattr(function, "__embcheck__"):
            raise UsageError(f"{function!r} is not a property; declare it with @claim")
    found = collect.collect(globs=globs, others=others, models=models) if globs or not functions else []
    collect.distinct([*collect.shipped(), *(check.function for check in found), *functions])
    own = checks_of(functions, others)
    collect.refuse_pytest_only(own)
    return list({check.key: check for check in (*found, *own)}.values())
