import pickle

import pytest

from embcheck import lexicons
from embcheck.errors import UsageError

ENTRIES = [
    *lexicons.relations(),
    *lexicons.analogies(),
    *lexicons.categories(),
    *lexicons.sequences(),
    *lexicons.axes(),
    lexicons.related(),
    lexicons.comparisons(),
]


def test_every_word_of_every_list_is_among_the_words():
    """Random tables are made of ``words()``: each list's words are in it, each once."""
    words = lexicons.words()
    assert {word for entry in ENTRIES for word in entry.words} == set(words)
    assert len(words) == len(set(words))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_entries_are_values(entry):
    """Entries can be copied to a worker and compared and hashed there."""
    copy = pickle.loads(pickle.dumps(entry))  # noqa: S301 - made in this line
    assert copy == entry
    assert hash(copy) == hash(entry)


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lexicons.categories, "no set of categories is named 'x'; the known ones are eight, kinds"),
        (lexicons.sequences, "no sequence is named 'x'; the known ones are numbers, months, weekdays, digits"),
        (lexicons.axes, "no axis is named 'x'; the known ones are gender, royalty"),
    ],
)
def test_an_unknown_name_is_refused(choose, message):
    """A name that is not known is refused with those that are."""
    with pytest.raises(UsageError, match=message):
        choose("x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lexicons.OrderedWords("s", "", ("a", "b", "A")), "sequence 's' has the word 'A' twice"),
        (lambda: lexicons.OrderedWords("s", "", ("a", "b")), "sequence 's' needs at least three words, and has 2"),
        (
            lambda: lexicons.Categories("c", "", (lexicons.Category("a", ("x",)), lexicons.Category("b", ("X",)))),
            "categories 'c' has the word 'X' twice",
        ),
        (lambda: lexicons.Categories("c", "", (lexicons.Category("a", ("x",)),)), "need at least two groups"),
    ],
)
def test_lists_that_can_not_be_measured_are_refused(make, message):
    """Too few words or groups, or a word that occurs twice, are refused with the list's name."""
    with pytest.raises(UsageError, match=message):
        make()


def test_the_lists_are_long_enough_to_decide():
    """Every list that is a sample of words has the 20 words or pairs that a verdict needs."""
    assert len(lexicons.related().pairs) >= 20
    assert all(len(axis.poles.pairs) >= 20 for axis in lexicons.axes())
    assert all(len(group.words) >= 20 for group in lexicons.categories("kinds")[0].groups)
    assert [len(group.words) for group in lexicons.categories("eight")[0].groups] == [8] * 8


def test_an_axis_is_kept_apart_from_the_words_that_it_is_orthogonal_to():
    """The royalty axis leaves out gender pairs such as king and queen, which hold words of its own."""
    gender, royalty = lexicons.axes("gender", "royalty")
    assert ("king", "queen") in gender.poles.pairs
    assert ("king", "queen") not in royalty.away
    assert ("uncle", "aunt") in royalty.away
    assert not {w for pair in royalty.away for w in pair} & set(royalty.poles.words)
    assert gender.away == ()


def test_the_source_pairs_start_with_pairs_that_count_as_related():
    """Of the source's eleven pairs, the five without a repeated word are a stratum of the related ones."""
    source = lexicons.comparisons().source_pairs
    assert len(source) == 11
    assert lexicons.related().strata["source"] == source[:5]
