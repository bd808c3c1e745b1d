import importlib
import struct

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import embcheck
from embcheck import measures, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.measures.kernels import equal
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0 + 2**-23, float("nan"), float("inf")])


@given(rows=st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=2, max_size=25))
def test_groups_are_those_of_a_look_at_every_pair(words, rows):
    """Of rows with a direction: the same bits, but that the two zeros are one; every group once, whole and in order."""
    table = EmbeddingTable.from_arrays(np.array(rows, dtype=np.float32), words(len(rows)))

    def key(row):
        return tuple(struct.pack("<f", 0.0 if x == 0 else x) for x in row)

    directed = [i for i, row in enumerate(rows) if np.isfinite(row).all() and any(row)]
    assume(len(directed) > 1)
    expected = {}
    for i in directed:
        expected.setdefault(key(rows[i]), []).append(i)
    found = [group.tolist() for group in equal.equal_groups(table)]
    assert found == [group for group in expected.values() if len(group) > 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_copies_are_named_in_every_dtype(words, dtype):
    """The largest group first, with the tokens in it; a row off by one bit is no copy."""
    vectors = torch.randn(60, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    vectors[10], vectors[40:43] = vectors[50], vectors[5]
    vectors[20] = vectors[21]
    vectors[20, 3] = torch.nextafter(vectors[20, 3], torch.tensor(9.0, dtype=dtype))
    names = words(60)
    estimate = measures.equal_rows(EmbeddingTable.from_arrays(vectors, names))
    assert (estimate.value, estimate.n, estimate.is_exact) == (6, 60, True)
    assert [group["ids"] for group in estimate.details["largest"]] == [[5, 40, 41, 42], [10, 50]]
    assert estimate.counterexamples[1] == {"ids": [10, 50], "token": f"{names[10]}-{names[50]}", "rows": 2}


def test_rows_of_one_text_may_be_equal(words):
    """A token of several rows is no other token than itself; with a third of another text all three count."""
    vectors = np.random.default_rng(0).standard_normal((5, 4))
    vectors[1] = vectors[0]
    table = EmbeddingTable.from_arrays(vectors, ["a", "a", "b", "c", "d"])
    assert measures.equal_rows(table).value == 0
    vectors[4] = vectors[0]
    assert measures.equal_rows(EmbeddingTable.from_arrays(vectors, table.tokens)).value == 3


def test_rows_outside_the_population_do_not_count():
    """Reserved rows, zero rows and those with a NaN are equal to nothing that counts."""
    vectors = np.random.default_rng(0).standard_normal((9, 4))
    vectors[1] = vectors[0]  # reserved
    vectors[3:5], vectors[5:7] = 0, np.nan
    tokens = ["[unused1]", "[unused2]", *"abcdefg"]
    assert measures.equal_rows(EmbeddingTable.from_arrays(vectors, tokens)).value == 0
    vectors[7] = vectors[2]
    assert measures.equal_rows(EmbeddingTable.from_arrays(vectors, tokens)).value == 2


@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([2.0, 0.5, -4.0]))
def test_columns_rows_and_factors_of_two_change_nothing(words, seed, factor):
    """Any order of rows and columns, and an exact factor, keep the count."""
    r = np.random.default_rng(seed)
    vectors = r.integers(-1, 2, (30, 3)).astype(np.float32) + np.float32(0.25)
    moved = vectors[r.permutation(30)][:, r.permutation(3)] * np.float32(factor)
    counts = [measures.equal_rows(EmbeddingTable.from_arrays(rows, words(30))).value for rows in (vectors, moved)]
    assert counts[0] == counts[1]


def test_one_copy_refutes_and_noise_holds(words, gaussian_table):
    """It holds on noise, on its rotation and shuffle, and is refuted by one copied row."""
    (check,) = checks_of([importlib.import_module("embcheck.properties.duplicate_rows").duplicate_rows])
    table = gaussian_table(300, 12)
    shuffled, _ = nulls.row_shuffled(table, {}, np.random.default_rng(0))
    assert {evaluate(check, t, Settings()).verdict for t in (table, shuffled)} == {Verdict.HOLDS}
    copied = table.vectors.clone()
    copied[7] = copied[290]
    (result,) = embcheck.check(table.with_vectors(copied), properties="duplicate_rows").results
    assert (result.verdict, result.estimate.value) == (Verdict.REFUTED, 2)
