"""Does vector arithmetic solve analogies, and better than the words in the question do alone?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, below, claim, lexicons, measures, needs

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(11), margin=0.05, bad="down", needs=needs.words("analogy"), analogy=lexicons.analogies())
def analogy_rank(table: EmbeddingTable, analogy: lexicons.Analogy) -> Estimate:
    """The target of a - b + c is among the ten nearest words, the three source words left out.

    ``embcheck.measures.analogy_rank`` gives the formula (3CosAdd: Mikolov, Yih and Zweig 2013; Levy and Goldberg 2014;
    controls: Linzen 2016); king - man + woman is discussed in the notebook "Word Embeddings: From Tokens to Geometry"
    (2026).
    """
    return measures.analogy_rank(table, analogy)


@claim(above(0.02), margin=0.05, bad="down", needs=needs.pairs("relation"), relation=lexicons.relations())
def analogy_gain(table: EmbeddingTable, relation: lexicons.Relation) -> Estimate:
    """Analogy arithmetic ranks targets higher than the best of its controls does.

    ``embcheck.measures.analogy_gain`` gives the formula; the controls (nearest to a, nearest to c, a + c) are those of
    Linzen, "Issues in evaluating semantic spaces using word analogies" (2016).
    """
    return measures.analogy_gain(table, relation)
