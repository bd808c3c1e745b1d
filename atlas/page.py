"""The page ``docs/atlas.md``: the text of ``page.md``, filled from the results, so that no number is typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas import sections
from atlas.view import Atlas, Claim, listed
from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.checks.record import Json

__all__ = ["HEADLINES", "STATEMENTS", "markdown"]

HEADLINES = {
    "positive_cosine_bias": Claim(
        "positive cosines", "Most pairs of tokens have a positive cosine", "share of all pairs"
    ),
    "ascii_anti_alignment[ascii]": Claim(
        "ASCII", "ASCII tokens anti-align", "their share of negative cosines, less that of other tokens of their length"
    ),
    "plural_direction_consistency[plural]": Claim(
        "plurals", "Plural offsets share a direction", "mean cosine of two offsets"
    ),
    "analogy_rank[king]": Claim(
        "king",
        "king - man + woman ranks queen among the ten nearest",
        "rank of queen, the question's three words left out",
    ),
    "random_baseline": Claim("random", "A random matrix gives about 50%", "share of all pairs"),
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
    "analogy_gain[plural]": "Analogy arithmetic beats the words of its question alone, of plurals",
    "token_neuron_profiles[0-related-mlp_in]": "Neurons of the first layer see related words alike",
}


_OF_ALL: tuple[Callable[[Atlas], Any], ...] = (
    sections.needs_of_properties,
    sections.shares,
    sections.trends,
    sections.king_and_plurals,
    sections.every_check,
    sections.hidden_states,
    sections.pairs,
    sections.provenance,
)


def markdown(document: Json) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    atlas = Atlas(document)
    tallies = {claim: atlas.tally(check) for check, claim in HEADLINES.items()}
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters |= {"listed": listed, "number": number}
    template = environment.from_string(Path(__file__).with_name("page.md").read_text(encoding="utf-8"))
    page: str = template.render(
        atlas=atlas,
        headlines=HEADLINES,
        tallies={claim.short: tally for claim, tally in tallies.items()},
        by_kind=sections.by_kind(atlas, tallies),
        five_claims=sections.five_claims(atlas, tallies),
        needs=sections.needs(atlas, tallies),
        statements=sections.statements(atlas, STATEMENTS),
        **{section.__name__: section(atlas) for section in _OF_ALL},
    )
    return page.rstrip("\n") + "\n"
