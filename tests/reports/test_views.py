from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embcheck import EmbeddingTable
from embcheck.explore import analogy, neighbors, probe
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
        *views.neighbors(neighbors(table, "#0", 3, merge=True), encoding=encoding),
        *views.analogy(analogy(table, ["#0", "#1", "#2", "#3"], 3), encoding=encoding),
    ]
    for line in shown:
        assert columns(line.text) <= 80
        assert line.text.isprintable()
        line.text.encode(encoding)


def test_long_lists_are_cut_with_a_way_to_see_all():
    """A token that is negative with many others lists the first runs and says where the rest are."""
    vectors = [[1.0, 0.0], *([-1.0, 0.0], [1.0, 0.0]) * 100]
    table = EmbeddingTable.from_arrays(vectors, [f"t{i}" for i in range(201)])
    text = "\n".join(line.text for line in views.probe(probe(table, "t0")))
    assert "and 60 more runs (--json has all)" in text
    assert "and 40 more tokens (--json has all)" in text
