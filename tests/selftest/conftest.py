from __future__ import annotations

import pytest

from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of


@pytest.fixture(scope="session")
def shipped():
    """Every check that ships."""
    return checks_of(collect.functions())
