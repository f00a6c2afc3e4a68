"""How long a stop signal takes to be obeyed: from SIGTERM to the process's end, its checkpoint written.

    python benchmarks/stopping.py --tries 5

Signals come at random moments of training and of its evaluations, which are made frequent for that.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ppocli.config.load import preset_names
from ppocli.records import checkpoint


def stop(preset: str, after: float) -> float:
    """Train, send SIGTERM so many seconds after the first iteration, and return how long the end took."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "ppocli", "train", "--config", preset, "--runs-dir", runs]
        command += ["--set", "train.eval_interval=20_000", "--set", "train.env_steps=1e8"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()
        time.sleep(after)
        start = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.communicate()
        seconds = time.perf_counter() - start
        assert process.returncode == 128 + signal.SIGTERM
        (last,) = Path(runs).rglob("last.safetensors")
        checkpoint.load(last)
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=preset_names())
    parser.add_argument("--tries", type=int, default=5)
    arguments = parser.parse_args()
    rng = random.Random(0)
    for preset in arguments.presets:
        took = [stop(preset, rng.uniform(0, 4)) for _ in range(arguments.tries)]
        print(f"{preset}: {', '.join(f'{seconds:.1f}' for seconds in took)}, longest {max(took):.1f} s", flush=True)


main()
