"""Lets the tests here import the small tables of the room below."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "latency_tables"))
