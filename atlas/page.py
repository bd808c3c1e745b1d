"""The page ``docs/atlas.md``: the text of ``page.md``, filled from the results; no number in either is typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atlas import sections
from atlas.view import Atlas, listed
from embcheck.reports.text import number

if TYPE_CHECKING:
    from embcheck.checks.record import Json

__all__ = ["HEADLINES", "STATEMENTS", "markdown"]

HEADLINES = {
    "positive_cosine_bias": "Most pairs of tokens have a positive cosine",
    "ascii_anti_alignment[ascii]": "ASCII tokens anti-align",
    "plural_direction_consistency[plural]": "Plural offsets share a direction",
    "analogy_rank[king]": "king - man + woman ranks queen",
    "random_baseline": "A random matrix gives about 50%",
}
STATEMENTS = {
    "normalization": "Matrices are not stored normalised",
    "background_similarity": "Random pairs are nearly orthogonal",
    "metric_agreement": "Cosine and Euclidean distance rank neighbors alike",
    "frequency_norm[id]": "Frequent words have longer vectors",
    "hubness": "Some tokens are neighbors of far more others than in noise",
    "effective_dimension": "Variance lies in fewer directions than there are columns",
    "number_order[numbers]": "Number words near in their order are nearer in angle",
    "related_word_pairs[related]": "Related words are nearer than words of different pairs",
    "semantic_categories[eight]": "Words of one category are nearer to each other",
    "semantic_axes[gender]": "An axis from man to woman sorts other words by gender",
    "analogy_gain[gender]": "Analogy arithmetic beats the words of its question alone, of gender",
    "analogy_gain[plural]": "and of plurals",
    "token_neuron_profiles[0-related-mlp_in]": "Neurons of the first layer see related words alike",
}


def markdown(document: Json) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    atlas = Atlas(document)
    tallies = {check: atlas.tally(check) for check in HEADLINES}
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters |= {"listed": listed, "number": number}
    template = environment.from_string(Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    page = template.render(
        atlas=atlas,
        headlines=HEADLINES,
        tallies=tallies,
        statements=sections.statements(atlas, STATEMENTS),
        five_claims=sections.five_claims(atlas, tallies),
        needs=sections.needs(atlas, {HEADLINES[check]: tally for check, tally in tallies.items()}),
        **{
            name: getattr(sections, name)(atlas)
            for name in ("needs_of_properties", "shares", "correlations", "king_and_plurals", "every_check")
            + ("hidden_states", "pairs", "provenance")
        },
    )
    return page.rstrip("\n") + "\n"
