"""Files that carry less than the original: compare holds them to what both have, and says what it left out."""

import json

import numpy as np
import pytest

from embcheck.lexicons import Relation
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import RowStatus


@pytest.fixture(scope="module")
def vectors():
    """A small Gaussian matrix."""
    return np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)


WORDS = [f"w{i}" for i in range(400)]


def save(project, name, matrix, words):
    np.save(project / f"{name}.npy", matrix)
    (project / f"{name}.txt").write_text("\n".join(words))
    return f"{name}=npy:{name}.npy,vocab={name}.txt"


def test_both_are_measured_on_the_rows_that_both_have(embcheck, project, vectors):
    """Forty rows that only one has, far away, change nothing of the others: no value moves, and one line says so."""
    more = np.vstack([vectors, np.float32(50) + vectors[:40]])
    specs = save(project, "a", vectors, WORDS), save(project, "b", more, [*WORDS, *(f"x{i}" for i in range(40))])
    glob = ("--property", "isotropy", "--property", "hubness", "--json", "out.json")
    for pair, sizes in ((specs, "400 and 440"), (specs[::-1], "440 and 400")):
        found = embcheck("compare", *pair, *glob)
        said = f"populations differ: {sizes} rows; both are measured on the 400 that both have"
        assert (found.code, said in " ".join(found.out.split())) == (0, True), found.out
        document = json.loads((project / "out.json").read_text())
        assert document["populations"] == said
        assert {row["change"]["value"] for row in document["changes"]} == {0.0}
    assert embcheck("compare", specs[0], specs[0], *glob).out.count("populations") == 0
