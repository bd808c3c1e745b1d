from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embcheck import EmbeddingTable
from embcheck.explore import analogy, neighbors, probe, probe_random, similarity
from embcheck.explore import tokens as tokens_of
from embcheck.reports.terminal import views
from embcheck.reports.text import columns

TOKENS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), min_size=4, max_size=4)


@given(
    TOKENS.filter(lambda tokens: len({t.strip().casefold() or t for t in tokens}) == 4),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_views_fit_and_keep_to_the_encoding(tokens, encoding):
    """Whatever tokens hold, every view stays within 80 columns and prints nothing that a terminal acts on."""
    table = EmbeddingTable.from_arrays([[1.0, 0.1], [-1.0, 0.2], [0.3, 1.0], [-0.2, -1.0]], tokens)
    shown = [
        *views.probe(probe(table, "#0"), encoding=encoding),
        *views.probe_random(probe_random(table, 3), encoding=encoding),
        *views.tokens(tokens_of(table, list(filter(str.strip, tokens))), encoding=encoding),
        *views.similarity(similarity(table, "#0", "#1"), encoding=encoding),
        *views.neighbors(neighbors(table, "#0", 3, merge=True), encoding=encoding),
        *views.analogy(analogy(table, "#0 - #1 + #2 = #3", 3), encoding=encoding),
    ]
    for line in shown:
        assert columns(line.text) <= 80
        assert line.text.isprintable()
        line.text.encode(encoding)


def test_a_probe_names_the_ends_of_the_list():
    """Of many tokens the ten nearest and the ten farthest are named, whatever their sign."""
    vectors = [[1.0, 0.0], *([1.0, i / 50] for i in range(1, 101))]
    table = EmbeddingTable.from_arrays(vectors, [f"t{i}" for i in range(101)])
    text = [line.text for line in views.probe(probe(table, "t0"))]
    nearest, farthest = text.index("nearest by cosine"), text.index("farthest by cosine")
    assert [line.split()[2] for line in text[nearest + 1 : farthest]] == [f"'t{i}'" for i in range(1, 11)]
    assert [line.split()[2] for line in text[farthest + 1 :]] == [f"'t{i}'" for i in range(100, 90, -1)]


def test_the_folder_is_one_line():
    """Where a source lies can be copied, however long its path is."""
    folder = "/" + "/".join(["a_long_name"] * 9)
    source = {"files": ["a"], "tensor": "", "bytes": 1, "bytes_total": 1, "folder": folder}
    assert f"  in          {folder}" in [line.text for line in views.described("toy", source)]


def test_a_word_of_several_tokens_has_no_rank_in_an_analogy():
    """It is said that it has none, and why, without the words of a rank."""
    word = {"text": "word", "ids": [1], "tokens": ["word"]}
    ranks = {"word": {"sources_kept": 3, "sources_excluded": None}, "words": dict.fromkeys(("sources_kept",), None)}
    ranks["words"]["sources_excluded"] = None
    document = {"words": [word] * 3, "ranks": ranks, "sources_excluded": [], "sources_kept": []}
    shown = [line.text for line in views.analogy(document)][-1]
    assert shown == "  ranks       word: 3 with sources kept  words: more than one token, so no rank"


def test_a_word_of_several_tokens_is_named_by_them():
    """What a mean is taken of is said: every token of a word in quotes, of a long word six and how many more."""
    document = {"merged": False, "neighbors": []}
    (line,) = views.neighbors(document | {"word": {"text": "ab", "ids": [1, 2], "tokens": ["a", "'"]}})
    assert line.text == """nearest to ab (mean of 'a' "'") by cosine"""
    lines = views.neighbors(document | {"word": {"text": "long", "ids": list(range(8)), "tokens": list("abcdefgh")}})
    assert "long (mean of 'a' 'b' 'c' 'd' 'e' 'f' and 2 more)" in " ".join(line.text for line in lines)
