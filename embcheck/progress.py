"""Progress of long work: a bar on a terminal's stderr or in a notebook, once the work has lasted two seconds."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["cleared", "track"]

_Item = TypeVar("_Item")
_DELAY = 2.0


def track(
    iterable: Iterable[_Item],
    description: str = "",
    total: int | None = None,
    naming: Callable[[_Item], str] | None = None,
) -> Iterator[_Item]:
    """The items of ``iterable``, with a bar that shows how far they are."""
    is_notebook = _is_notebook()
    if not (is_notebook or sys.stderr.isatty()):  # most of the time: spare the import
        yield from iterable
        return
    from tqdm.std import tqdm

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    # each bar of a notebook has an output of its own, in whose first line it stands
    place: dict[str, Any] = {"file": _Output(), "position": 0} if is_notebook else {}
    bar = tqdm(iterable, desc=inert_line(description) or None, total=total, delay=_DELAY, leave=False, **place)
    started = time.monotonic()
    for item in bar:
        if naming is not None:
            is_shown = time.monotonic() - started > _DELAY  # a refresh would show the bar before its time
            bar.set_postfix_str(inert_line(naming(item)), refresh=is_shown)
        yield item


class _Output:
    """A cell's output as a file: each write replaces it, so that a notebook keeps nothing of a bar that is gone."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._handle: Any = None

    def write(self, text: str) -> None:
        """Show the text instead of what was there."""
        shown = {"text/plain": text.strip()}
        if self._handle is not None:
            self._handle.update(shown, raw=True)
        elif shown["text/plain"]:
            self._handle = importlib.import_module("IPython.display").display(shown, raw=True, display_id=True)

    def flush(self) -> None:
        """All is shown already."""


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return hasattr(None if ipython is None else ipython.get_ipython(), "kernel")


@contextmanager
def cleared() -> Iterator[None]:
    """Bars are off the terminal while the block prints, and back after it."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield
