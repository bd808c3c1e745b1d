"""What a measure kept is on the page: as a fact, in a table, or in a picture."""

from __future__ import annotations

import pytest

from embcheck.reports.html.details import is_histogram, is_matrix, laid_out
from embcheck.reports.html.rows import plain

DETAILS = {
    "width": 384,
    "words": ["king", " queen"],
    "coverage": {"missing": 0, "missing_words": [], "single": 12},
    "accuracy": {"3cosadd": 0.5, "a_plus_c": 0.25},
    "by_letter": dict.fromkeys("abcdefg", 0.125),
    "strata": {"regular": {"pairs": 3, "value": 0.5}, "irregular": {"pairs": 4}},
    "scree": {"component": [1, 2], "share": [0.75, 0.25]},
    "nearest": [{"value": 0.5, "token": ""}],
    "neighbors": {"Paris": {"merged": [["france", 0.5]], "unmerged": [["London", 0.25]]}},
    "whole": {"rows": 9, "hubs": [{"token": "the", "in_lists": 4}]},
    "histogram": {"low": 0, "high": 1, "counts": [1]},
    "matrix": [[1.0, 0.0], [0.0, 1.0]],
    "long": list(range(40)),
}


def test_each_kind_of_detail_is_a_fact_or_a_table():
    """One line is a fact; mappings of mappings, of lists, and lists of mappings are tables; pictures take the rest."""
    facts, tables = laid_out(DETAILS)
    assert dict(facts) == {
        "width": "384",
        "words": "king, \u2423queen",
        "coverage": "missing: 0, missing words: none, single: 12",
        "accuracy": "3cosadd: 0.5, a plus c: 0.25",
        "whole: rows": "9",
        "long": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 28 more",
    }
    assert {table.caption: (table.columns, table.rows) for table in tables} == {
        "by letter": (("", "value"), tuple((letter, "0.125") for letter in "abcdefg")),
        "strata": (("", "pairs", "value"), (("regular", "3", "0.5"), ("irregular", "4", None))),
        "scree": (("component", "share"), (("1", "0.75"), ("2", "0.25"))),
        "nearest": (("token", "value"), (("(empty)", "0.5"),)),
        "whole: hubs": (("token", "in lists"), (("the", "4"),)),
        "neighbors": (("", "merged", "unmerged"), (("Paris", "france (0.5)", "London (0.25)"),)),
    }


def test_a_long_table_says_what_it_leaves_out():
    """Of a table too long to read the first rows stand, and how many are only in the JSON."""
    _, (table,) = laid_out({"rows": [{"id": i} for i in range(1000)]})
    assert table.rows[0] == ("0",)
    assert len(table.rows) + table.left_out == 1000


def leaves(value):
    """The numbers and texts of details, but those of histograms and matrices, which are drawn, and of long lists."""
    if is_histogram(value) or is_matrix(value):
        return
    for item in value.values() if isinstance(value, dict) else value[:12]:
        if isinstance(item, dict | list):
            yield from leaves(item)
        elif item is not None:
            yield item


def test_everything_measured_is_there(measured):
    """Of the whole catalogue each number of the details stands in a fact or a table of its result."""
    for result in measured.results:
        facts, tables = laid_out(result.details)
        said = " ".join(text for _, text in facts)
        said += " ".join(f"{cell} " for table in tables for row in table.rows for cell in row)
        missing = [item for item in leaves(result.details) if isinstance(item, float) and plain(item) not in said]
        assert missing == [], result.label


@pytest.mark.parametrize(
    "details", [{"a": []}, {"a": {}}, {"a": [[]]}, {"a": {"b": {"c": {"d": {"e": [{}]}}}}}, {"": None}]
)
def test_details_of_any_shape_are_laid_out(details):
    """Reports are untrusted: empty and deep entries are no error."""
    facts, tables = laid_out(details)
    assert isinstance(facts, list)
    assert isinstance(tables, list)
