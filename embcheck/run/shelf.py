"""What was loaded and is still needed: one thing at a time, or the two of a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from embcheck.errors import EmbcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shelf"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Shelf(Generic[_Key, _Value]):
    """Loads what is asked for, and keeps that and nothing else."""

    def __init__(self, load: Callable[[_Key], _Value]) -> None:
        self._load = load
        self._kept: dict[_Key, _Value] = {}
        self._failed: dict[_Key, EmbcheckError] = {}

    def get(self, *keys: _Key) -> tuple[_Value, ...]:
        """The values of all keys, after everything else was let go.

        Raises
        ------
        EmbcheckError
            One can't be loaded; raised again, without another try, whenever it is asked for.
        """
        for key in keys:
            if key in self._failed:
                raise self._failed[key].with_traceback(None)
        self._kept = {key: value for key, value in self._kept.items() if key in keys}
        for key in keys:
            if key not in self._kept:
                try:
                    self._kept[key] = self._load(key)
                except EmbcheckError as error:
                    self._failed[key] = error
                    raise
        return tuple(self._kept[key] for key in keys)

    def known(self, key: _Key) -> _Value | None:
        """The value of a key if it is kept."""
        return self._kept.get(key)
