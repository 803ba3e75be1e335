"""How long the commands take as a user meets them, process start included.

    python benchmarks/commands.py [--runs 7] [--json]

Each command runs once to warm the file cache; then all take turns, so that a slow spell of the machine falls
on each alike. Printed are medians, and their ratio to the start of a bare Python interpreter in the same run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fednas.profiles import this_machine

PROGRAM = str(Path(sys.executable).with_name("fednas-export"))
LIMITS_S = {"--help": 0.3, "devices": 0.3, "search, one budget": 2.0, "--device cpu (embedded supernet)": 30.0}


def commands(scratch: Path) -> dict[str, list[str]]:
    """What is timed, by name."""
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "--help": [PROGRAM, "--help"],
        "devices": [PROGRAM, "devices"],
        "search, one budget": [PROGRAM, "search", "--max-macs", "5M"],
        "search, estimated latency": [PROGRAM, "search", "--device", "jetson", "--max-latency", "200us"],
        "--device cpu (embedded supernet)": [PROGRAM, "--device", "cpu", "--out", str(scratch / "shipped")],
    }


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Time everything and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        timed = commands(Path(scratch))
        readings: dict[str, list[float]] = {name: [] for name in timed}
        for run in range(options.runs + 1):
            for name, command in timed.items():
                taken = seconds(command)
                if run:  # the first one warms the file cache
                    readings[name].append(taken)
    medians = {name: statistics.median(values) for name, values in readings.items()}
    machine = f"{this_machine().model}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if options.json:
        print(json.dumps({"machine": machine, "runs": options.runs, "median_s": medians}))
        return
    print(f"Median of {options.runs} runs, interleaved; {machine}\n")
    print("| command | seconds | times a bare interpreter | limit |\n| --- | --- | --- | --- |")
    for name, median in medians.items():
        limit = f"{LIMITS_S[name]:g} s" if name in LIMITS_S else ""
        print(f"| `{name}` | {median:.2f} | {median / medians['python -c pass']:.1f} | {limit} |")


if __name__ == "__main__":
    main()
