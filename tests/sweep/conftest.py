import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # import-mode importlib finds no helpers beside a test


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A training run of 12 checkpoints in which the common direction is lost at step 70."""
    import training_runs

    return training_runs.write(tmp_path_factory.mktemp("runs") / "a", list(range(0, 120, 10)), 70)


@pytest.fixture(scope="session")
def serial(run, tmp_path_factory):
    """The sweep of that run, one task after the other."""
    import training_runs

    return training_runs.swept(run, tmp_path_factory.mktemp("serial") / "sweep.parquet")
