"""What must be so of every token on any model: hypothesis looks for a counterexample.

Not declared, for there is nothing to estimate: plain tests, which pytest collects and the command line passes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("hypothesis", reason="universal properties need hypothesis: pip install 'embcheck[hypothesis]'")

from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import strategies

if TYPE_CHECKING:
    from embcheck import EmbeddingTable
    from embcheck.strategies import Token

ROUNDING = 1e-5  # of a cosine in full float32


@settings(max_examples=10, deadline=None, database=None, derandomize=True)
@given(st.lists(strategies.tokens(), min_size=1, max_size=50))
def test_a_token_is_its_own_nearest_neighbor(embcheck_table: EmbeddingTable, tokens: list[Token]) -> None:
    """No row has a larger cosine with a token than the token itself; rows of the same direction have as large a one.

    True of any vectors (Cauchy and Schwarz), so that a counterexample is a fault of arithmetic, device or file, under
    which no other result deserves trust. The lesson "Measuring Similarity in GPT-2" looks at it token by token.
    """
    own = embcheck_table.units([token.id for token in tokens])
    for part in embcheck_table.slices(len(embcheck_table.population)):
        others = embcheck_table.units(embcheck_table.population[part])
        assert float((own @ others.T).max()) <= 1 + ROUNDING
    assert float(((own * own).sum(1) - 1).abs().max()) <= ROUNDING
