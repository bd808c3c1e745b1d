"""Progress of long work: a bar on stderr, only on a terminal and only once the work has lasted two seconds."""

from __future__ import annotations

import sys
from collections.abc import Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

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
    if not sys.stderr.isatty():  # most of the time: spare the import
        yield from iterable
        return
    from tqdm import tqdm

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    bar = tqdm(iterable, desc=inert_line(description) or None, total=total, delay=_DELAY, disable=None, leave=False)
    for item in bar:
        if naming is not None:
            bar.set_postfix_str(inert_line(naming(item)))
        yield item


@contextmanager
def cleared() -> Iterator[None]:
    """Bars are off the terminal while the block prints, and back after it."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield
