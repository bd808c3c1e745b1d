"""Tables that training breaks: collapse is what a gate is for, so it is measured or skipped for a reason."""

from __future__ import annotations

import numpy as np
import pytest

from embcheck import lexicons
from embcheck.checks import collect
from embcheck.run.session import Model, Session
from embcheck.settings import Settings
from embcheck.spec import parse
from embcheck.table import EmbeddingTable

WORDS = list(lexicons.words())
NOISE = np.random.default_rng(0).standard_normal((len(WORDS), 8)).astype(np.float32)


def scaled(factor):
    vectors = NOISE.copy()
    vectors[7] *= np.float32(factor)
    return vectors


CASES = {
    "a row times 1e20": scaled(1e20),
    "a row times 1e37": scaled(1e37),
    "all rows equal": np.tile(NOISE[:1], (len(WORDS), 1)),
    "all rows zero but one": np.where(np.arange(len(WORDS))[:, None] == 3, NOISE, 0),
    "rank 1": np.outer(NOISE[:, 0], NOISE[0]),
    "width 1": NOISE[:, :1].copy(),
    "tiny": NOISE * np.float32(1e-38),
}


@pytest.mark.filterwarnings("ignore")  # of SciPy, about samples without spread: no program shows them
@pytest.mark.parametrize("case", CASES)
def test_a_broken_table_ends_in_results(case):
    """Every check of a collapsed or exploded table is measured, inconclusive or skipped with a reason; none raises."""
    model = Model(parse("random:9x9"), lambda: EmbeddingTable.from_arrays(CASES[case], WORDS))
    run = Session([model], Settings(probes=50, draws=20)).run(collect.collect())
    errors = [(result.check.label, result.reason) for result in run.results if result.verdict == "error"]
    assert not errors
    assert all(result.reason for result in run.results if result.verdict == "skipped")
