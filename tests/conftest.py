"""What every test starts from."""

import os

pytest_plugins = ["pytester"]

# Tests that are about continuous integration say so themselves. Fixtures of any scope, and subprocesses, see this too.
for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)
