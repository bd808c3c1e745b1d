"""Rows of values as a pandas data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd


def frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], instead: str) -> pd.DataFrame:
    """A row each, whose columns have the types given; without pandas `UsageError`, which says what to take instead."""
    try:
        import pandas as pd
    except ImportError:
        raise UsageError(f"to_dataframe needs pandas: pip install 'embcheck[pandas]'; {instead}") from None
    return pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
