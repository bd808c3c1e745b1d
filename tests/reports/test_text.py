from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.reports.text import columns, cut, number, quoted, safe, wrap
from embcheck.text import counted, noun

ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates and control characters included


@given(ANY_TEXT, st.integers(0, 40))
def test_safe_fits_and_is_printable(token, width):
    """Whatever a token holds, its safe form fits the width and has nothing that a terminal acts on."""
    shown = safe(token, width)
    assert columns(shown) <= width
    assert shown.isprintable()
    shown.encode("utf-8")


@given(ANY_TEXT, st.sampled_from(["ascii", "latin-1", "cp1252"]))
def test_safe_keeps_to_the_encoding(token, encoding):
    """Characters that the terminal lacks are escaped."""
    safe(token, 30, encoding=encoding).encode(encoding)


@given(st.text(st.characters(categories=["L", "Nd"]), max_size=10))
def test_plain_words_stay_as_they_are(word):
    """Letters and digits are shown as they are where there is room."""
    assert safe(word, 40) == word


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202eevil", "\\u202eevil"),
        ("\ud800", "\\ud800"),
        ("back\\slash", "back\\\\slash"),
        ("\u0301", "\\u0301"),
        ("e\u0301", "e\u0301"),
        ("a long token indeed", "a long ..."),
    ],
)
def test_untrusted_characters_are_escaped(token, shown):
    """Escapes, newlines, bidi marks, surrogates and bare combining marks become visible; long tokens are cut."""
    assert safe(token, 10 if "long" in token else 20) == shown


def test_combining_marks_do_not_pile_up():
    """Beyond two combining marks on one character the rest are escaped."""
    assert safe("e" + "\u0301" * 4, 40) == "e\u0301\u0301\\u0301\\u0301"


def test_wide_characters_take_two_columns():
    """East Asian wide characters count twice, and are not cut in half."""
    assert columns("中文") == 4
    assert cut("中文字", 5) == "中..."


@given(
    st.lists(st.text(st.characters(categories=["L", "Zs"]), min_size=1, max_size=30), max_size=8), st.integers(20, 80)
)
def test_wrapped_lines_fit(pieces, width):
    """No wrapped line is wider than asked for."""
    for line in wrap(pieces, width=width, first="first: ", indent="    "):
        assert columns(line) <= width


def test_nothing_of_a_long_word_is_lost():
    """A word longer than a line goes on in the next one, to its last character."""
    lines = wrap(["see /" + "a" * 20], width=12, first="in: ", indent="    ")
    assert lines == ["in: see", "    /aaaaaaa", "    aaaaaaaa", "    aaaaa"]


def test_wrap_keeps_pieces_whole():
    """A piece that fits on a line is not broken."""
    assert wrap(["one two", "three four"], width=12, indent="  ") == ["one two", "  three four"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345678, "0.1235"),
        (2.0, "2"),
        (30522, "30522"),
        (12345.678, "12346"),
        (1e-7, "1e-07"),
        (None, "none"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_are_rounded_for_reading(value, shown):
    """Four digits, whole numbers whole."""
    assert number(value) == shown


def test_rounding_does_not_hide_the_side_of_a_bound():
    """A value beside its bound keeps the digits that tell them apart."""
    assert number(0.510004, [0.51]) == "0.510004"
    assert number(0.51, [0.51]) == "0.51"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_can_be_shown(value):
    """Every finite number has a short form."""
    assert len(number(value, [0.0])) <= 20


@pytest.mark.parametrize(("token", "shown"), [("a", "'a'"), ("'", '"\'"'), ('"', "'\"'"), (" it's", '" it\'s"')])
def test_a_quote_in_quotes_can_be_told_from_them(token, shown):
    """A token that holds a single quote stands in double ones, any other in single ones."""
    assert quoted(token) == shown


@pytest.mark.parametrize(
    ("n", "plural", "word"),
    [
        (1, "values", "value"),
        (2, "values", "values"),
        (1, "rows of ordinary tokens", "row of ordinary tokens"),
        (0, "word pairs", "word pairs"),
        (1, "categories", "category"),
    ],
)
def test_a_noun_behind_one_is_singular(n, plural, word):
    """Of one unit the noun before any "of" is in the singular."""
    assert noun(n, plural) == word


def test_a_number_stands_before_what_it_counts():
    """``1 row is``, ``2 rows are``: the singular is made, or taken as it is given."""
    assert [counted(n, "pictures") for n in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    assert [counted(n, "rows are zero", "row is zero") for n in (1, 2)] == ["1 row is zero", "2 rows are zero"]
