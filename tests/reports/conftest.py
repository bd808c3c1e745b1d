import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # import-mode importlib finds no helpers beside a test
