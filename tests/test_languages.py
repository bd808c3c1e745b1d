"""Lists in other languages: their shape, their script, what a table has of them, and the properties that use them."""

import importlib
import pickle
import unicodedata

import numpy as np
import pytest
import torch

from embcheck import lexicons, needs
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import UsageError
from embcheck.selftest.plants import plant_of
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

PLURALS, RELATED, SEQUENCES = lexicons.relations("plural"), [lexicons.related()], lexicons.sequences()
(EIGHT,), (KINDS,) = lexicons.categories("eight"), lexicons.categories("kinds")
SCRIPTS = {"zh": {"CJK"}, "ja": {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}, "ru": {"CYRILLIC"}}
NO_PLURALS = {"zh", "ja"}
SEQUENCES_OF = {"pt": ["numbers", "months"], "ja": ["weekdays"]}  # else numbers, months and weekdays


def every_list(language):
    """All lists of a language."""
    entries = [*PLURALS, *RELATED, *SEQUENCES, EIGHT, KINDS]
    return [entry for english in entries for entry in lexicons.in_languages([english], language)]


@pytest.fixture(params=lexicons.LANGUAGES)
def language(request):
    return request.param


def test_a_language_has_the_lists_whose_forms_it_has(language):
    """Related words and categories in all languages, plurals and ordered words where the form exists and is its own."""
    expected = [] if language in NO_PLURALS else ["plural"]
    expected += ["related", *SEQUENCES_OF.get(language, ["numbers", "months", "weekdays"]), "eight", "kinds"]
    assert [entry.name for entry in every_list(language)] == [f"{name}_{language}" for name in expected]


def test_lists_have_the_shape_of_the_english_ones(language):
    """Ten numbers, twelve months, seven days; the same categories under the same names; pairs enough to decide."""
    for english in SEQUENCES:
        for entry in lexicons.in_languages([english], language):
            assert len(entry.words) == len(english.words)
            assert (entry.first, entry.cyclic) == (english.first, english.cyclic)
    eight, kinds = lexicons.in_languages([EIGHT, KINDS], language)
    assert (eight.names, kinds.names) == (EIGHT.names, KINDS.names)
    assert [len(group.words) for group in eight.groups] == [8] * 8
    assert all(len(group.words) >= 30 for group in kinds.groups)
    assert all(len(entry.pairs) >= 50 for entry in lexicons.in_languages([*PLURALS, *RELATED], language))


def test_no_word_is_twice_in_a_list(language):
    """A word is in one pair, category or place of a list, whatever its case."""
    for entry in every_list(language):
        folded = [word.casefold() for word in entry.words]
        assert len(folded) == len(set(folded)), entry.name


def test_words_are_letters_of_the_language_s_script(language):
    """No letter of another script stands among a language's, and nothing but letters, each in one code point."""
    for entry in every_list(language):
        for word in entry.words:
            assert unicodedata.normalize("NFC", word) == word
            scripts = {unicodedata.name(letter).split()[0] for letter in word}
            assert scripts <= SCRIPTS.get(language, {"LATIN"}), word
            assert word.isalpha()


def test_german_nouns_are_capitalised_and_months_elsewhere_are_not():
    """Nouns, months and days begin with a capital in German; in Romance languages and Russian months do not."""
    plural, months, days = lexicons.in_languages([*PLURALS, *lexicons.sequences("months", "weekdays")], "de")
    assert all(word[0].isupper() for entry in (plural, months, days) for word in entry.words)
    for language in ("fr", "es", "it", "pt", "ru"):
        (months,) = lexicons.in_languages(lexicons.sequences("months"), language)
        assert all(word.islower() for word in months.words)


def test_lists_are_values_that_say_their_language():
    """A list can be copied to a worker, and its sentence says which language it is in."""
    for entry in (e for language in lexicons.LANGUAGES for e in every_list(language)):
        copy = pickle.loads(pickle.dumps(entry))  # noqa: S301 - made in this line
        assert copy == entry
        assert hash(copy) == hash(entry)
    assert every_list("pt")[0].sentence == "a noun and its plural, in Portuguese"


def test_languages_come_in_their_order_and_only_those_asked_for():
    """All languages without a name, else the named ones; a list that stands for none is passed over."""
    assert [str(entry) for entry in lexicons.in_languages(RELATED)] == [f"related_{x}" for x in lexicons.LANGUAGES]
    assert [str(entry) for entry in lexicons.in_languages(PLURALS, "ru", "zh", "de")] == ["plural_ru", "plural_de"]
    own = lexicons.relation("plural", [("a", "b"), ("c", "d")])
    assert lexicons.in_languages([own]) == ()
    languages = [lexicons.language_of(entry) for entry in (own, *PLURALS, *lexicons.in_languages(PLURALS))]
    assert languages == ["en", "en", "de", "fr", "es", "it", "pt", "ru"]
    with pytest.raises(UsageError, match="no lists are in 'en'; there are some in de, fr"):
        lexicons.in_languages(PLURALS, "en")


def test_enough_counts_what_is_whole_in_a_table():
    """A pair counts where both words are single tokens, a word where it is; no row counts twice."""
    tokens = ["Hund", "Hunde", "Katze", "ana", "Ana", *(f"t{i}" for i in range(20))]
    table = EmbeddingTable.from_arrays(torch.ones(len(tokens), 2), tokens)
    assert lexicons.enough(table, [("Hund", "Hunde"), ("Katze", "Katzen"), ("Kuh", "Kühe")]) == 1
    assert lexicons.enough(table, ["Hund", "Katze", "Kuh"]) == 2
    assert lexicons.enough(table, ["Katze", '"Katze"', "Hund"]) == 2
    assert lexicons.enough(table, [("Hund", "Katze"), ("Katze", "Hunde")]) == 1
    assert lexicons.enough(table, []) == 0


def test_a_language_is_needed_where_its_list_is_asked_about():
    """Half of a list, at least 20 pairs or words, all of a sequence; English lists and one's own need no language."""
    (plural, months, kinds) = lexicons.in_languages([*PLURALS, *lexicons.sequences("months"), KINDS], "de")
    missing = "few words of its language"

    def lacking(need, words, **parameters):
        tokens = [*words, "and", "or"]
        return need(EmbeddingTable.from_arrays(torch.ones(len(tokens), 2), tokens), parameters)

    half = [word for pair in plural.pairs[: len(plural.pairs) // 2] for word in pair]
    assert lacking(needs.language("relation"), half, relation=plural) is None
    assert lacking(needs.language("relation"), half[1:], relation=plural) == missing
    assert lacking(needs.language("sequence"), months.words, sequence=months) is None
    assert lacking(needs.language("sequence"), months.words[1:], sequence=months) == missing
    asked = {"categories": kinds, "category": "emotions"}
    emotions, others = kinds.groups[3].words, [word for group in kinds.groups[:3] for word in group.words]
    need = needs.language("categories", only="category")
    assert lacking(need, [*others, *emotions[:20]], **asked) is None
    assert lacking(need, [*others, *emotions[:19]], **asked) == missing
    assert lacking(need, emotions, **asked) == missing
    assert lacking(needs.language("relation"), [], relation=PLURALS[0]) is None
    own = lexicons.relation("own", [("a", "b"), ("c", "d")])
    assert lacking(needs.language("relation"), [], relation=own) is None


def test_a_table_of_another_language_has_none_of_the_words(lexicon_table):
    """Nothing of the lists in Russian, Chinese or Japanese is on a table of English words: it is not asked for them."""
    table = lexicon_table()
    for entry in (entry for language in ("ru", "zh", "ja") for entry in every_list(language)):
        assert lexicons.enough(table, entry.words) == 0


# --- the properties that use lists ------------------------------------------------------------------------------------


def checks_in(language):
    """The checks of every property of word lists, in one language, with the measure that each calls."""
    (plural, related, order, eight, kinds) = (
        lexicons.in_languages(entries, language) for entries in (PLURALS, RELATED, SEQUENCES, [EIGHT], [KINDS])
    )
    for name, measure, cases in (
        ("plural_direction_consistency", "offset_consistency", [{"relation": entry} for entry in plural]),
        ("related_word_pairs", "related_pair_auc", [{"relation": entry} for entry in related]),
        ("number_order", "order_agreement", [{"sequence": entry} for entry in order]),
        ("semantic_categories", "category_separation", [{"categories": entry} for entry in eight]),
        (
            "nearest_neighbors",
            "neighbor_category_share",
            [{"categories": entry, "category": group} for entry in kinds for group in entry.names],
        ),
    ):
        function = getattr(importlib.import_module(f"embcheck.properties.{name}"), name)
        yield from ((Check(function, case), measure) for case in cases)


def test_properties_find_what_is_planted_and_not_noise(language, words):
    """In every language each property of word lists holds where its structure is planted; on noise at most one does.

    On noise each holds once in a hundred times.
    """
    checks = list(checks_in(language))
    tokens = [word for check, _ in checks for entry in check.params.values() for word in getattr(entry, "words", ())]
    tokens = list(dict.fromkeys([*tokens, *words(600)]))
    vectors = np.random.default_rng(5).standard_normal((len(tokens), 64)).astype(np.float32)
    table = EmbeddingTable.from_arrays(vectors, tokens)
    settings, on_noise = Settings(draws=199, details=False), []
    for check, measure in checks:
        planted = plant_of(check, measure)(table, check.params, np.random.default_rng(6))
        assert evaluate(check, planted, settings).verdict is Verdict.HOLDS, check.label
        on_noise.append(evaluate(check, table, settings).verdict)
    assert on_noise.count(Verdict.HOLDS) <= 1
    assert set(on_noise) <= {Verdict.HOLDS, Verdict.REFUTED, Verdict.INCONCLUSIVE}


def test_checks_of_english_lists_keep_their_ids():
    """English has no language in an id, and other languages have theirs behind the list's name."""
    (check, _), *_, (last, _) = checks_in("de")
    assert check.label == "plural_direction_consistency[plural_de]"
    assert last.label == "nearest_neighbors[kinds_de-emotions]"
    assert Check(check.function, {"relation": PLURALS[0]}).label == "plural_direction_consistency[plural]"


# --- hierarchies ------------------------------------------------------------------------------------------------------


def test_a_hierarchy_is_a_tree():
    """Every word but the root stands once below another: the kinds below the root, the members below their kind."""
    for hierarchy in lexicons.hierarchies():
        lower = [below for below, _ in hierarchy.pairs]
        assert sorted(lower) == sorted(hierarchy.words[1:])
        assert hierarchy.words[0] == hierarchy.name
        assert {above for _, above in hierarchy.pairs} == {hierarchy.name, *hierarchy.names}
        assert pickle.loads(pickle.dumps(hierarchy)) == hierarchy  # noqa: S301 - made in this line
    (animal,) = lexicons.hierarchies("animal")
    assert {("dog", "mammal"), ("mammal", "animal"), ("eagle", "bird"), ("bird", "animal")} <= set(animal.pairs)


def test_hierarchies_give_enough_to_decide():
    """Over all hierarchies no word is twice, siblings are at least three, and pairs at least sixty."""
    hierarchies = lexicons.hierarchies()
    words = [word.casefold() for hierarchy in hierarchies for word in hierarchy.words]
    assert len(words) == len(set(words))
    assert sum(len(hierarchy.pairs) for hierarchy in hierarchies) >= 60
    assert all(len(group.words) >= 3 for hierarchy in hierarchies for group in hierarchy.groups)


def test_a_word_for_a_kind_can_not_be_a_member():
    """The names of a hierarchy are words, and may occur as little twice as its members."""
    with pytest.raises(UsageError, match="'animal' has the word 'Bird' twice"):
        lexicons.Hierarchy("animal", "", [lexicons.Category("bird", ["owl"]), lexicons.Category("fish", ["Bird"])])


# --- what wordfreq knows ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_words_are_common_in_their_language_and_none_is_english_first(language):
    """wordfreq, where it is installed, knows each word as one in a million or more, and not as an English one first.

    Names are common to languages, and of number words, months and days there is no choice.
    """
    wordfreq = pytest.importorskip("wordfreq")
    pytest.importorskip({"zh": "jieba", "ja": "MeCab"}.get(language, "wordfreq"))
    for entry in every_list(language):
        for word in entry.words:
            assert len(wordfreq.tokenize(word, language)) == 1, word
            assert wordfreq.zipf_frequency(word, language) >= 3, word
        if entry.name.startswith(("plural", "related", "eight")):
            for word in {*entry.words} - {*EIGHT.words}:
                assert wordfreq.zipf_frequency(word, "en") < wordfreq.zipf_frequency(word, language), word
