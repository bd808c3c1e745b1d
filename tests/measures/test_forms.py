import numpy as np
import pytest
import torch

from embcheck.measures.resolve import forms_of
from embcheck.table import EmbeddingTable


@pytest.fixture
def table():
    tokens = ["King", "queen", " king", "KING", "man", "Queen", "<unk>", "x"]
    return EmbeddingTable.from_arrays(np.eye(8), tokens)


def test_case_and_space_variants_are_one_form(table):
    """Rows that write one word in other case or with a space share a form, numbered in order of first rows."""
    forms = forms_of(table)
    assert forms.of_position.tolist() == [0, 1, 0, 0, 2, 1, 3]
    assert forms.count == 4
    assert [forms.find(w) for w in ("kInG", "QUEEN ", "man", "dog")] == [0, 1, 2, None]


def test_best_is_the_maximum_over_variants(table):
    """The score of a form is the best of its variants, in one query and in many."""
    forms = forms_of(table)
    scores = torch.tensor([[1.0, 5, 3, 2, -1, 6, -2], [-1, -5, -3, -2, -1, -6, -2]])
    expected = [[3, 6, -1, -2], [-1, -5, -1, -2]]
    assert forms.best(scores).tolist() == expected
    assert forms.best(scores[0]).tolist() == expected[0]


def test_positions_are_all_variants_of_the_forms_asked_for(table):
    """Positions lists every row of the given forms, and none for no forms."""
    forms = forms_of(table)
    assert sorted(forms.positions([0, 3]).tolist()) == [0, 2, 3, 6]
    assert forms.positions([]).tolist() == []


def test_forms_are_found_once_a_table(table):
    """The second request gives the same object; a table with other rows has its own."""
    assert forms_of(table) is forms_of(table)
    assert forms_of(table.subset(np.array([1, 5]))).count == 1
