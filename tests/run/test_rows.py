"""What is said of a table's rows before its results."""

from __future__ import annotations

import pytest

from embcheck.run.rows import note_of_broken


@pytest.mark.parametrize(
    ("rows", "excluded", "said"),
    [
        (1998, {"non_finite": 1, "zero": 1}, "1 row is not finite, 1 row is zero, 1998 are measured"),
        (1, {"non_finite": 2}, "2 rows are not finite, 1 is measured"),
        (1999, {"zero": 1}, None),
        (1900, {"zero": 100}, "100 rows are zero, 1900 are measured"),
        (2000, {"special": 5}, None),
    ],
)
def test_broken_rows_are_named_with_their_number(rows, excluded, said):
    """Zero rows are told of where they are not few, and beside ones that are not finite however few."""
    assert note_of_broken(rows, excluded) == said
