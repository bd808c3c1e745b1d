"""A hash that is worked out while something else is waited for."""

import hashlib

import pytest
import torch

from embcheck.errors import SourceError
from embcheck.table.hashing import Hashing

BLOCKS = [torch.arange(6, dtype=torch.float32).view(2, 3), torch.ones((1, 3), dtype=torch.float32)]


def test_it_is_that_of_all_bytes_however_many_steps_were_made():
    """Steps, and what is left of them."""
    wanted = hashlib.sha256(b"".join(block.numpy().tobytes() for block in BLOCKS)).hexdigest()
    for steps in range(4):
        hashing = Hashing(BLOCKS)
        assert [hashing.step() for _ in range(steps)] == [True, True, False][:steps]
        assert hashing.hexdigest() == hashing.hexdigest() == wanted


def test_a_block_that_cannot_be_read_is_told_to_who_asks_for_the_hash():
    """Who only goes on with it is not disturbed."""

    def blocks():
        yield BLOCKS[0]
        raise SourceError("a.parquet is damaged")

    hashing = Hashing(blocks())
    assert [hashing.step(), hashing.step(), hashing.step()] == [True, False, False]
    for _ in range(2):
        with pytest.raises(SourceError, match=r"a\.parquet is damaged"):
            hashing.hexdigest()
