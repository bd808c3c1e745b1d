"""Is the output matrix the input embedding where the model says so?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures, needs

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(1), on_noise="any", margin=0.5, bad="up", ladder=(), needs=needs.tied_output())
def tied_output(table: EmbeddingTable) -> Estimate:
    """The output matrix equals the input embedding in every row, where the model's config says that they are tied.

    ``embcheck.measures.untied_rows`` says what is compared.
    """
    return measures.untied_rows(table)
