import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.table.vocabulary import (
    RowStatus,
    SubsetVocabulary,
    TokenKind,
    WordVocabulary,
    classify,
    classify_words,
    is_unused,
    repeated,
    tokens_sha256,
    word_key,
)


@pytest.mark.parametrize(
    ("surface", "starts_word", "expected"),
    [
        ("a", None, TokenKind.ASCII_CHARACTER),
        ("!", None, TokenKind.ASCII_CHARACTER),
        ("~", True, TokenKind.ASCII_CHARACTER),
        ("##a", False, TokenKind.ASCII_CHARACTER),
        (" a", None, TokenKind.WORD_START),
        ("é", None, TokenKind.WORD_INSIDE),
        ("é", True, TokenKind.WORD_START),
        (" dog", None, TokenKind.WORD_START),
        ("dog", None, TokenKind.WORD_INSIDE),
        ("dog", True, TokenKind.WORD_START),
        ("##dog", False, TokenKind.WORD_INSIDE),
        ("##dog", True, TokenKind.OTHER),
        ("##", False, TokenKind.OTHER),
        ("猫", None, TokenKind.WORD_INSIDE),
        (" ", None, TokenKind.CONTROL),
        ("\n\n", None, TokenKind.CONTROL),
        ("\x07", None, TokenKind.CONTROL),
        ("\u200b", None, TokenKind.CONTROL),
        ("", None, TokenKind.CONTROL),
        ("don't", True, TokenKind.OTHER),
        ("42", None, TokenKind.OTHER),
        (" 7", None, TokenKind.OTHER),
        ("--", None, TokenKind.OTHER),
    ],
)
def test_the_class_of_a_token(surface, starts_word, expected):
    """Characters, words at and inside a word's start, white space and the rest are told apart by their text."""
    assert classify(surface, starts_word=starts_word) is expected


def test_ascii_characters_are_the_94_visible_ones():
    """Of all code points below 256, the ASCII characters are ! to ~."""
    found = [c for c in map(chr, range(256)) if classify(c) is TokenKind.ASCII_CHARACTER]
    assert found == [chr(c) for c in range(33, 127)]


@pytest.mark.parametrize(
    "token", ["[unused7]", "<unused0>", "<|reserved_special_token_3|>", "<extra_id_12>", "[PAD_TOKEN]", "<|dummy_1|>"]
)
def test_reserved_names_are_unused(token):
    """Rows reserved by name are known as such."""
    assert is_unused(token)


@pytest.mark.parametrize("token", ["unused", "[hello]", "<s>", "", "[", "(reserved", "unused7]", "<unused> words"])
def test_other_names_are_not_unused(token):
    """Words, punctuation and other special tokens are not taken for reserved rows."""
    assert not is_unused(token)


def test_rows_of_words_are_classed_by_name():
    """Special words, reserved words and words proper have their status and class."""
    found = WordVocabulary(["<unk>", "[unused1]", "dog", "a", "don't"])
    assert found.status.tolist() == [RowStatus.SPECIAL, RowStatus.UNUSED, *[RowStatus.KNOWN] * 3]
    assert found.kinds[[0, 2, 3, 4]].tolist() == [
        TokenKind.SPECIAL,
        TokenKind.WORD_START,
        TokenKind.ASCII_CHARACTER,
        TokenKind.OTHER,
    ]


def test_words_resolve_to_their_first_row_and_are_never_split():
    """Of equal words the first row is found; a word that is absent is empty."""
    assert WordVocabulary(["cat", "Dog", "cat"]).encode(["cat", "Dog", "dog", "cats"]) == [(0,), (1,), (), ()]


def test_an_uncased_vocabulary_is_asked_in_lower_case():
    """Without any capital letter in the vocabulary, Paris is looked up as paris too."""
    assert WordVocabulary(["paris", "rome"]).encode(["Paris", "ROME", "rome"]) == [(0,), (1,), (1,)]


@pytest.mark.parametrize("odd", [["[CLS]"], ["<PAD>", "<|IM|>"], ["(S)", "[unused1]", "[UNK]"]])
def test_special_tokens_do_not_decide_on_case(odd):
    """A list of lower-case words is uncased whatever special tokens stand in it."""
    assert WordVocabulary(["paris", *odd]).encode(["Paris", odd[0]]) == [(0,), (1,)]


@pytest.mark.parametrize(("words", "is_folded"), [(9_999, True), (150, True), (20, False)])
def test_one_odd_capital_does_not_decide_on_case(words, is_folded):
    """One word with a capital among thousands leaves a list uncased; one in twenty is what cased text has."""
    vocabulary = WordVocabulary(["may", "UNK", *(f"word{row}" for row in range(words))])
    assert vocabulary.encode(["May", "UNK"]) == [(0,) if is_folded else (), (1,)]


def test_letters_without_case_do_not_decide_on_case():
    """A list of Chinese characters with a few cased words is cased: May is not may."""
    characters = [chr(0x4E00 + row) for row in range(5_000)]
    assert WordVocabulary([*characters, "may", "Paris", "London", "rome"]).encode(["May", "Paris"]) == [(), (5_001,)]


def test_a_subset_renumbers_rows():
    """Words keep their texts and classes in the new numbering; those whose rows are gone are missing."""
    whole = WordVocabulary(["<unk>", "cat", "dog", "a"])
    part = SubsetVocabulary(whole, np.array([3, 1]))
    assert (part.tokens, part.kinds.tolist()) == (["a", "cat"], [TokenKind.ASCII_CHARACTER, TokenKind.WORD_START])
    assert part.encode(["cat", "dog", "a"]) == [(1,), (), (0,)]


class Pieces(WordVocabulary):
    def encode(self, words):
        """Rows of the pieces."""
        return [tuple(self.tokens.index(piece) for piece in word.split("-")) for word in words]


def test_a_subset_needs_all_pieces_of_a_word():
    """A word of several tokens is missing unless every one of them is in the subset."""
    part = SubsetVocabulary(Pieces(["x", "un", "do", "ing"]), np.array([3, 2, 1]))
    assert part.encode(["un-do", "do-ing", "un-x"]) == [(2, 1), (1, 0), ()]


@given(st.text(min_size=1).filter(str.strip))
def test_case_and_space_variants_share_a_key(word):
    """Folding is stable: a word, its key, and the word between spaces have one key."""
    assert word_key(word) == word_key(f" {word} ") == word_key(word_key(word))


def test_white_space_tokens_keep_their_own_key():
    """Tokens of white space only are not all one word."""
    assert word_key(" ") != word_key("\n")


def test_the_hash_of_tokens_marks_their_borders():
    """Moving a character from one token to the next changes the hash; lone surrogates can be hashed."""
    assert tokens_sha256(["ab", "c"]) != tokens_sha256(["a", "bc"])
    assert tokens_sha256(["a", "b"]) != tokens_sha256(["b", "a"])
    assert len(tokens_sha256(["\ud800"])) == 64


_ODD = st.sampled_from(
    ["", "a", "##", "##a", " a", "a ", "é", "42", "\n", "\x1c", "\u200b", "\xa0a", "猫", "a\0b", "²"]
)


@given(st.lists(st.text() | st.text("ab #\t\u00e9\u2028", max_size=3) | _ODD))
def test_words_are_classed_together_as_one_by_one(words):
    """The classes of many words are those that each has by itself, whatever its characters."""
    assert classify_words(words).tolist() == [classify(word, starts_word=True) for word in words]


@given(st.text("aé9-_ \n\x07\u200b\xad\u2028\x1c", max_size=4))
def test_a_token_without_anything_visible_is_control(surface):
    """Tokens are control exactly where all that they have is white space, control or format characters."""
    blank = all(c.isspace() or unicodedata.category(c) in {"Cc", "Cf"} for c in surface)
    assert (classify(surface) is TokenKind.CONTROL) == blank


@given(st.lists(st.sampled_from(["a", "b", "", "\ud800", "ab", "猫"])))
def test_repeated_texts_are_those_that_stand_before(texts):
    """Every row but the first of its text repeats one."""
    assert repeated(texts).tolist() == [row for row, text in enumerate(texts) if text in texts[:row]]


def test_texts_of_one_hash_are_compared():
    """Texts that differ repeat nothing, even where their hashes are the same."""

    class Collides(str):
        __slots__ = ()
        __hash__ = lambda self: 7  # noqa: E731

    assert repeated([Collides("a"), Collides("b"), Collides("a")]).tolist() == [2]


def test_a_vocabulary_works_out_nothing_before_it_is_asked():
    """Neither classes nor the rows of words are there when words were read; a part of a vocabulary is as lazy."""
    whole = WordVocabulary(["cat", "dog", "cat"])
    part = SubsetVocabulary(whole, np.array([1]))
    known = set(vars(whole))
    assert not {"kinds", "status", "_rows"} & known
    assert not {"tokens", "kinds", "status"} & set(vars(part))
    assert part.status.tolist() == [RowStatus.KNOWN]
    assert set(vars(whole)) - known == {"status", "_marked"}
