"""What a model's name means, for every command: an alias of a configured model or a spec; and its own settings.

Parsing options reads no model's files and asks no hub: that happens here, once models are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import sources
from embcheck.errors import UsageError
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.config.config import Config
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable
    from embcheck.table.pools import Pool


def needed(config: Config) -> tuple[ModelSpec, ...]:
    """The models to check, one a layer for ``@layer=all``."""
    models = tuple(model for spec in config.models for model in sources.expand(meant(config, spec)))
    refuse_equal_aliases(models)
    return models


def named(config: Config, name: str) -> ModelSpec:
    """The one model of a name."""
    return meant(config, config.placed(parse(name)))


def meant(config: Config, spec: ModelSpec) -> ModelSpec:
    """The configured model of that alias, or one of its layers, where the spec is nothing but an alias; else itself."""
    if spec.alias != spec.text.partition(",")[0]:
        return spec
    for configured in config.configured_models:
        if configured.alias == spec.alias:
            return configured
        if spec.alias.startswith(f"{configured.alias}@layer"):
            return next((layer for layer in sources.expand(configured) if layer.alias == spec.alias), spec)
    return spec


def refuse_equal_aliases(models: Sequence[ModelSpec]) -> None:
    """Raise `UsageError` where two models have one name: results are keyed by it."""
    aliases = [model.alias for model in models]
    for alias in aliases:
        if aliases.count(alias) > 1:
            raise UsageError(
                f"two models are called {alias!r}; name one: name=SPEC, or from Python {{'name': model, ...}}"
            )


def load(config: Config, spec: ModelSpec) -> EmbeddingTable:
    """A model's table, on the device and in the type that are configured for it."""
    own = config.of(spec.alias)
    device, dtype = own.device or config.device, own.dtype or config.dtype
    return sources.load(
        spec, device=device, dtype=dtype, population=config.population, pool=pool(config), states=config.states
    )


def pool(config: Config) -> Pool | None:
    """Where parts of tables are worked on, if the options say so."""
    if config.executor is None:
        for name in ("workers", "states"):
            if getattr(config, name) is not None:
                raise UsageError(f"--{name} is about the parts that an executor works on; add --executor")
        return None
    from embcheck.table.pools import pool_of

    return pool_of(config.executor, config.workers)
