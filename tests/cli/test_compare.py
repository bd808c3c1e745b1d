from __future__ import annotations

import json

import numpy as np
import pytest

from embcheck import EmbeddingTable
from embcheck.baseline.drift import drift
from embcheck.errors import NotMeasurable

WORDS = [f"w{i}" for i in range(300)]


def made(vectors, words=WORDS):
    return EmbeddingTable.from_arrays(np.asarray(vectors, dtype=np.float32), words)


@pytest.fixture
def vectors():
    """A small Gaussian matrix."""
    return np.random.default_rng(0).standard_normal((300, 16))


def test_nothing_moved(vectors):
    """A table against itself: every row identical, no churn, no residual, nothing named."""
    found = drift(made(vectors), made(vectors))
    assert (found["identical_rows"], found["neighbor_jaccard"], found["moved"]) == (300, 1.0, [])
    assert found["procrustes_residual"] < 1e-6


def test_rotation_moves_rows_and_no_neighbours(vectors):
    """A rotation changes cosines row by row, but no neighbour, and Procrustes leaves nothing over."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    found = drift(made(vectors), made(vectors @ rotation))
    assert found["neighbor_jaccard"] > 0.999
    assert found["procrustes_residual"] < 1e-3
    assert found["cosine"]["median"] < 0.9


def test_moved_tokens_are_named(vectors):
    """The rows that turned most are named first, and lengths and the mean shift are those of the change."""
    other = vectors.copy()
    other[7] *= -1
    other[9] *= 2
    found = drift(made(vectors), made(other))
    assert found["moved"][0] == {"id": 7, "token": "w7", "value": pytest.approx(-1)}
    assert found["norm_ratio"]["max"] == pytest.approx(2)
    assert found["identical_rows"] == 298
    shift = drift(made(vectors), made(vectors + 1))["mean_shift"]
    assert shift == pytest.approx(4 / np.linalg.norm(vectors, axis=1).mean(), rel=1e-3)


def test_other_tokens_have_no_drift(vectors):
    """Rows of other tokens are not compared."""
    with pytest.raises(NotMeasurable, match="other tokens"):
        drift(made(vectors), made(vectors, WORDS[::-1]))


def test_compare_specs_and_reports(embcheck, project, vectors):
    """Two specs give changes and drift, two reports changes; a regression is exit code 1; one of each is refused."""
    (project / "words.txt").write_text("\n".join(WORDS))
    np.save(project / "a.npy", vectors.astype(np.float32))
    np.save(project / "b.npy", (vectors + 2).astype(np.float32))
    specs = [f"{name}=npy:{name}.npy,vocab=words.txt" for name in "ab"]
    glob = ("--property", "positive*")
    same = embcheck("compare", specs[0], specs[0], *glob)
    assert same.code == 0, same.err
    assert "match" in same.out
    moved = embcheck("compare", *specs, *glob, "--json", "out.json")
    assert moved.code == 1
    document = json.loads((project / "out.json").read_text())
    assert document["changes"][0]["change"]["state"] == "regressed"
    assert document["drift"]["identical_rows"] == 0
    for spec, name in zip(specs, "ab", strict=True):
        embcheck("check", spec, *glob, "--json", f"{name}.json")
    assert embcheck("compare", "a.json", "b.json", *glob).code == 1
    assert embcheck("compare", "a.json", specs[1]).code == 4


RANKS = '''
from embcheck import Estimate, below, claim


@claim(below(11), margin=0.05, bad="down", on_noise="any")
def ranked(table):
    """The target is near."""
    rank = float(len(table.vectors))
    return Estimate.exact(rank, name="rank", compared_as=("reciprocal rank", 1 / rank))


@claim(below(1000), margin=1, on_noise="any")
def only_narrow(table):
    """There are columns."""
    from embcheck import NotMeasurable

    if table.width > 4:
        raise NotMeasurable("too wide")
    return Estimate.exact(float(table.width), name="width")
'''


def test_reports_are_compared_on_the_scale_of_the_property(embcheck, project):
    """A rank that rises from 2 to 200 regresses in two reports as in two models; what one of them lacks fails."""
    (project / "properties" / "ranks.py").write_text(RANKS)
    for name, spec in (("a", "random:2x4"), ("b", "random:200x4"), ("c", "random:2x8")):
        embcheck("check", f"m={spec}", "--property", "ranked", "--property", "only_narrow", "--json", f"{name}.json")
    found = embcheck("compare", "a.json", "b.json", "--property", "ranked")
    assert (found.code, found.out.splitlines()[1].split()[0]) == (1, "regressed")
    assert "moved -0.495 from 0.5" in found.out
    assert embcheck("compare", "b.json", "a.json", "--property", "ranked").out.splitlines()[1].startswith("improved")
    models = embcheck("compare", "random:2x4", "random:200x4", "--property", "ranked")
    assert (models.code, models.out.splitlines()[1].split()[0]) == (1, "regressed")
    lacking = embcheck("compare", "a.json", "c.json", "--property", "only_narrow")
    assert (lacking.code, "only a.json has a value" in lacking.out) == (1, True)
    assert embcheck("compare", "a.json", "a.json").code == 0
