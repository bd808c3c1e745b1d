"""What every test starts from."""

import os

from hypothesis import settings

pytest_plugins = ["pytester"]

# The same examples each time, so that a red build is about the change; HYPOTHESIS_PROFILE=default looks for others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Tests that are about continuous integration say so themselves. Fixtures of any scope, and subprocesses, see this too.
for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as embcheck does; workers of xdist see it before they import NumPy
