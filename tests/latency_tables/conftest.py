"""Lets the tests here import `table_examples`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
