import checkpoints
import pytest


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A training run of 12 checkpoints in which the common direction is lost at step 70."""
    return checkpoints.write(tmp_path_factory.mktemp("runs") / "a", list(range(0, 120, 10)), 70)
