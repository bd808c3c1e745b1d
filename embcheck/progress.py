"""Progress of long work: a bar on a terminal's stderr or in a notebook, once the work has lasted two seconds."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sized
from typing import TYPE_CHECKING, TypeVar

from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["track"]

_Item = TypeVar("_Item")
_DELAY = 2.0


def track(
    iterable: Iterable[_Item],
    description: str = "",
    total: int | None = None,
    naming: Callable[[_Item], str] | None = None,
) -> Iterator[_Item]:
    """The items of ``iterable``, with a bar that shows how far they are."""
    notebook = _is_notebook()
    if not (notebook or sys.stderr.isatty()):  # most of the time: spare the import
        yield from iterable
        return
    if notebook:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets the bar is of text, which serves
            from tqdm.auto import tqdm
    else:
        from tqdm import tqdm

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    bar = tqdm(iterable, desc=inert_line(description) or None, total=total, delay=_DELAY, leave=False)
    started = time.monotonic()
    for item in bar:
        if naming is not None:
            is_shown = time.monotonic() - started > _DELAY  # a refresh would show the bar before its time
            bar.set_postfix_str(inert_line(naming(item)), refresh=is_shown)
        yield item


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return hasattr(None if ipython is None else ipython.get_ipython(), "kernel")
