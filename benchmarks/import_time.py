"""The medians of `import diffrax, optax`, `import hjpde` and `hjpde --help`, measured in turn, as JSON lines.

Accepted: at most 0.3 s more than the first for each of the other two. Wall time needs a quiet machine; CPU time
(user and system, of the process and its children) is less sensitive to other work.
"""

import json
import os
import statistics
import subprocess
import sys
import time

LIMIT = 0.3
COMMANDS = {
    "import diffrax, optax": [sys.executable, "-c", "import diffrax, optax"],
    "import hjpde": [sys.executable, "-c", "import hjpde"],
    "hjpde --help": [sys.executable, "-c", "import sys; sys.argv[1:] = ['--help']; from hjpde.cli import main; main()"],
}


def measure(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu


def main() -> None:
    """Measures and prints one JSON object a command, then the verdict."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    samples = {name: [] for name in COMMANDS}
    for run in range(repeats + 1):
        for name, command in COMMANDS.items():
            sample = measure(command)
            # The first round fills the disk cache and writes the byte code.
            if run:
                samples[name].append(sample)
    medians = {}
    for name, pairs in samples.items():
        medians[name] = tuple(statistics.median(column) for column in zip(*pairs, strict=True))
        wall, cpu = medians[name]
        print(
            json.dumps({"command": name, "runs": repeats, "wall_seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)})
        )
    reference, *others = medians.values()
    excess = max(wall for wall, _ in others) - reference[0]
    print(json.dumps({"excess_wall_seconds": round(excess, 3), "limit": LIMIT, "accepted": excess <= LIMIT}))


if __name__ == "__main__":
    main()
