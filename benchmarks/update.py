"""How long PPO's update takes a minibatch, in several checkouts: each in a process of its own, asked in turn.

python benchmarks/update.py BEFORE AFTER
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

ROUNDS = 15
MEASURE = """
import gc, sys, time
import numpy as np, torch
from ppocli.algorithm.agent import Agent
try:
    from ppocli.device import keep_freed_memory
except ImportError:  # where it was before
    from ppocli.algorithm.device import keep_freed_memory
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.make import make_update
from ppocli.config.models import Config
from ppocli.envs.api import Continuous, Discrete, Vector

torch.set_num_threads(1)
keep_freed_memory()
gc.freeze()  # as the command line does
rng = np.random.default_rng(0)
for line in sys.stdin:
    hidden, size, epochs, activation, action, device = line.split()
    hidden, size, epochs = int(hidden), int(size), int(epochs)
    spec = Discrete(4) if action == "discrete" else Continuous((True,) * 4)
    config = Config.model_validate({
        "env": {"id": "none", "num_envs": 4}, "rollout": {"horizon": size},
        "network": {"hidden_sizes": [hidden, hidden], "activation": activation, "normalize_obs": False},
        "update": {"minibatch_size": size, "update_epochs": epochs, "ent_coef": 0.01, "learning_rate": 1e-4},
    })
    agent = Agent(Vector(8), spec, config.network, torch.Generator().manual_seed(0)).to(device)
    update = make_update(config, agent)
    obs = torch.randn(4 * size, 8).to(device)
    with torch.no_grad():
        actions, _ = agent.sample(obs, agent.tensor(agent.draw_noise(rng, 4 * size)))
        log_probs, _ = agent.log_prob_and_entropy(obs, actions)
        values = agent.value(obs)
    advantages = torch.randn(4 * size).to(device)
    batch = Batch(obs, actions, log_probs, values, advantages, values + advantages)
    update.update(batch, 0.0, rng)
    print("ready", flush=True)
    while sys.stdin.readline() == "go\\n":
        began = time.perf_counter()
        update.update(batch, 0.0, rng)
        print((time.perf_counter() - began) / (4 * epochs) * 1e3, flush=True)
"""


class Contestant:
    """A checkout's process."""

    def __init__(self, checkout: Path) -> None:
        command = [sys.executable, "-c", MEASURE]
        self._process = subprocess.Popen(
            command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, line: str) -> str:
        assert self._process.stdout
        self.tell(line)
        return self._process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        print(line, file=self._process.stdin, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--hidden", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 256, 512, 1024, 2048])
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--actions", choices=["discrete", "continuous"], default="discrete")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    contestants = [Contestant(checkout) for checkout in options.checkouts]
    print(f"{'hidden':>9} {'size':>6}   ms a minibatch, medians of {ROUNDS}, and the first over each other, quartiles")
    for hidden in options.hidden:
        for size in options.sizes:
            epochs = max(2, 20_000 // (size * hidden // 64))
            for contestant in contestants:
                contestant.ask(f"{hidden} {size} {epochs} {options.activation} {options.actions} {options.device}")
            rounds = [[float(contestant.ask("go")) for contestant in contestants] for _ in range(ROUNDS)]
            for contestant in contestants:
                contestant.tell("end")
            first, *others = zip(*rounds, strict=True)
            line = f"{hidden:>4}×{hidden:<4} {size:>6}   {median(first):6.3f}"
            for other in others:
                low, middle, high = quantiles([a / b for a, b in zip(first, other, strict=True)])
                line += f"   {median(other):6.3f}  {middle:.2f} ({low:.2f} to {high:.2f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
