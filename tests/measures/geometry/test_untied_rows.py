import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embcheck import measures, needs, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.settings import Settings
from embcheck.sources.models.live import from_module

NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2.5, math.nan, math.inf])


class Model(nn.Module):
    """An embedding, an output layer, and what the config says of them."""

    def __init__(self, x, u=None, *, said=True):
        super().__init__()
        self.config = {"tie_word_embeddings": said}
        self.embed_tokens = nn.Embedding.from_pretrained(x, freeze=False)
        if u is not None:
            self.lm_head = nn.Linear(u.shape[1], u.shape[0], bias=False)
            self.lm_head.weight = self.embed_tokens.weight if u is x else nn.Parameter(u)


@pytest.fixture
def table(words):
    return lambda *given, **said: from_module(Model(*given, **said), words(len(given[0])))


@pytest.fixture(scope="module")
def check():
    return checks_of([importlib.import_module("embcheck.properties.tied_output").tied_output])[0]


@given(rows=st.lists(st.tuples(*[NUMBERS] * 6), min_size=2, max_size=12))
def test_the_count_is_that_of_a_look_at_every_number(words, rows):
    """Number by number: equal, or no number in both; -0.0 is 0.0."""
    x, u = (torch.tensor([row[half : half + 3] for row in rows]) for half in (0, 3))
    differ = [
        i
        for i, row in enumerate(rows)
        if not all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(row[:3], row[3:], strict=True))
    ]
    estimate = measures.untied_rows(from_module(Model(x, u), words(len(rows))))
    assert (estimate.value, estimate.n, estimate.is_exact) == (len(differ), len(rows), True)
    assert {row["id"] for row in estimate.counterexamples} <= set(differ)


def test_one_matrix_is_equal_and_another_is_named(table, check):
    """Shared weights and equal copies hold; one row apart is refuted and named; nulls of the table change nothing."""
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    moved = x.clone()
    moved[7, 2] += 0.5
    assert [evaluate(check, table(x, u), Settings()).verdict for u in (x, x.clone())] == [Verdict.HOLDS] * 2
    apart = table(x, moved)
    result = evaluate(check, apart, Settings())
    assert (result.verdict, result.estimate.value) == (Verdict.REFUTED, 1)
    assert result.estimate.counterexamples == [{"id": 7, "difference": pytest.approx(0.5), "token": apart.token(7)}]
    shuffled, _ = nulls.row_shuffled(apart, {}, np.random.default_rng(0))
    assert measures.untied_rows(shuffled).value == measures.untied_rows(apart.subset(np.arange(9))).value == 1


def test_matrices_of_other_shapes_are_not_the_same(table):
    """Rows beyond the other's differ; of another width all do."""
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert measures.untied_rows(table(x, torch.cat([x, x[:3]]))).value == 3
    assert measures.untied_rows(table(x, x[:, :3].clone())).value == 20


def test_what_says_nothing_of_the_kind_is_not_asked(table, check, gaussian_table):
    """No config that ties, no output layer, no model at all: n/a, and the measure says so."""
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    for other in (table(x, x + 1, said=False), table(x), gaussian_table(20, 4)):
        assert evaluate(check, other, Settings()).verdict is Verdict.NOT_APPLICABLE
        assert needs.tied_output()(other, {}) == "no output matrix that is tied"
        with pytest.raises(NotMeasurable, match="not the input embedding"):
            measures.untied_rows(other)
