"""What every source that runs a whole model needs: quiet libraries, all weights present, errors of one line."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["bad_models", "quiet", "require_all_weights"]

_BAD_MODELS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, AssertionError,
    ArithmeticError, MemoryError,
)  # fmt: skip


def require_all_weights(origin: Path, report: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks weights: the library would fill them in at random, with no more than a warning."""
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)  # tokens are pooled by our modules
    if missing:
        raise SourceError(
            f"{origin} lacks {len(missing)} weights that its config.json asks for, such as {printable(missing[0])}; "
            "they would be random; download the model again"
        )


def bad_models() -> tuple[type[Exception], ...]:
    """What a malformed model makes the libraries raise; settings of a wrong type have a class of their own."""
    from huggingface_hub import errors

    strict: type[Exception] | None = getattr(errors, "StrictDataclassError", None)
    return _BAD_MODELS if strict is None else (*_BAD_MODELS, strict)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the libraries say of old names and defaults from the user, who can do nothing about it."""
    from transformers.utils import logging as library

    bars: Any = library
    disabled, shown = logging.root.manager.disable, bars.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if shown:
            bars.enable_progress_bar()
