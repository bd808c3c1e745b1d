"""Processes that train together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embcheck.training.ranks import agreed, is_first

SCRIPT = Path(__file__).with_name("two_ranks.py")


def test_one_process_agrees_with_itself():
    """Without torch.distributed nothing is asked of anybody."""
    assert is_first()
    assert agreed(lambda: 7) == 7


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What two processes say."""
    store = tmp_path_factory.mktemp("ranks") / "store"
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [*command, str(rank), str(store)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=180) for process in started]
    finally:
        for process in started:
            process.kill()
    assert all(out for out, _ in said), said
    return [json.loads(out) for out, _ in said]


@pytest.mark.slow
def test_each_process_sees_the_whole_table(seen):
    """Replicated or sharded in either way, the table is the whole matrix everywhere, and the shards stay shards."""
    for one in seen:
        assert one["equal"] == {"ddp": True, "fsdp2": True, "fsdp1": True, "fsdp1 nested": True}


@pytest.mark.slow
def test_all_stop_together_and_one_logs(seen):
    """Rank 0 decides for all; only it logs."""
    assert [one["step"] for one in seen] == [3, 3]
    assert [one["logged"] for one in seen] == [[0, 1, 2, 3], []]


@pytest.mark.slow
def test_nobody_waits_for_a_process_that_failed(seen):
    """The other ranks say where to look."""
    assert seen[0]["fault"] == "ZeroDivisionError: division by zero"
    assert seen[1]["fault"].startswith("RuntimeError: rank 0 failed while it checked the embeddings")
