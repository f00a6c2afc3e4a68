"""How many actions a second an exported lander takes, one observation at a time, on one core.

    ppocli train --config lunar
    python benchmarks/exported.py latest

The C header is compiled with -O2 and called in a loop of C; ONNX by onnxruntime with one thread, from Python, as is the
policy itself.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import ppocli
from ppocli.portable import header
from ppocli.portable.check import recorded

MAIN = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "policy.h"
int main(void) {
  float obs[8] = {0.1f, 0.9f, 0.2f, -0.3f, 0.05f, 0.01f, 0.0f, 0.0f};
  struct timespec start, end;
  int i, action, sum = 0;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (i = 0; i < N; i++) { obs[0] = 0.0001f * (float)(i % 1000); policy_act(obs, &action); sum += action; }
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
  printf("%f %d\\n", (double)N / seconds, sum);
  return 0;
}
"""


def main():
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    run = parser.parse_args().run
    policy = ppocli.load(run)
    shown = [one.obs for one in recorded(policy, 5000)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exported = ppocli.export(run, folder / "policy.h")
        (folder / "main.c").write_text(MAIN)
        command = ["cc", *header.OPTIONS, "-DN=1000000", "main.c", "-o", "speed", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        rate = float(subprocess.run([folder / "speed"], capture_output=True, text=True, check=True).stdout.split()[0])
        sizes = f"{exported.bytes:,} bytes of constants, {exported.stack_bytes:,} of the stack"
        print(f"C header: {rate:,.0f} actions/s, {sizes}")
        ppocli.export(run, folder / "policy.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "policy.onnx", options)
        print(f"ONNX: {_rate(lambda obs: session.run(['action'], {'obs': obs[None]}), shown):,.0f} actions/s")
    print(f"policy: {_rate(policy, shown):,.0f} actions/s")


def _rate(act, shown):
    began = time.perf_counter()
    for obs in shown:
        act(np.asarray(obs, np.float32))
    return len(shown) / (time.perf_counter() - began)


main()
