"""``python -m embcheck`` is ``embcheck``."""

from __future__ import annotations

import sys

from embcheck.cli import main

if __name__ == "__main__":
    sys.exit(main())
