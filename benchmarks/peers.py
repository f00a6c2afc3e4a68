"""ppocli beside its peers, in turn on the same machine: every row of the README's table, every seed.

    python benchmarks/peers.py                                    # all of it, about an hour
    python benchmarks/peers.py solved --seeds 10                  # Enter to solved
    python benchmarks/peers.py end --seeds 1                      # env steps/s of whole trainings
    python benchmarks/peers.py defaults --seeds 3                 # seconds to 100,000 env steps, with defaults
    python benchmarks/peers.py grid --cleanrl ~/cleanrl           # env steps/s with the same settings on both sides
    python benchmarks/peers.py solved --ours cartpole --no-peers  # ours alone

Each peer is installed on first use, from its requirements in benchmarks/peers, into an environment of its own in
benchmarks/.peer. CleanRL is on no registry: clone https://github.com/vwxyzjn/cleanrl and give its folder. A setting is
one of our configs, from which the peers' are made. Our seconds are the whole process's, start and imports included,
from Enter to solved or to the end; the peers' never count imports. In the grid neither side's do, and `defaults` says
both. Run nothing else beside it.
"""

import argparse
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ppocli.config.load import load_config
from ppocli.config.models import Config
from ppocli.config.values import value_at

HERE = Path(__file__).parent
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # two are slower for every peer here


def setting(env_id: str, num_envs: int, horizon: int, minibatch_size: int, epochs: int, **other: Any) -> Config:
    """Return a config by what differs between peers' settings; the rest hardly costs or saves time."""
    sections: dict[str, dict[str, Any]] = {
        "env": {"id": env_id, "num_envs": num_envs},
        "network": {"normalize_obs": False},
        "rollout": {"horizon": horizon, "gamma": 0.99, "normalize_rewards": False},
        "update": {"minibatch_size": minibatch_size, "update_epochs": epochs, "learning_rate": 3e-4},
    }
    for key, value in other.items():
        section, _, name = key.partition("__")
        sections.setdefault(section, {})[name] = value
    return Config.model_validate(sections)


NORMALIZED = {"network__normalize_obs": True, "rollout__normalize_rewards": True}
WIDE = {"network__hidden_sizes": (256, 256), "network__activation": "relu", "network__log_std_init": -2.0}
# From hyperparams/ppo.yml of rl-baselines3-zoo, which knows earlier versions of the same tasks.
ZOO = {
    "CartPole-v1": setting(
        *("CartPole-v1", 8, 32, 256, 20),
        rollout__gamma=0.98,
        rollout__gae_lambda=0.8,
        update__learning_rate={"start": 1e-3, "end": 0},
        ppo__clip_coef={"start": 0.2, "end": 0},
    ),
    "LunarLander-v3": setting(
        *("LunarLander-v3", 16, 1024, 64, 4),
        rollout__gamma=0.999,
        rollout__gae_lambda=0.98,
        update__ent_coef=0.01,
        train__env_steps=1_000_000,
    ),
    "Hopper-v5": setting("Hopper-v5", 1, 512, 32, 5, **NORMALIZED, **WIDE),
    "HalfCheetah-v5": setting("HalfCheetah-v5", 1, 512, 64, 20, **NORMALIZED, **WIDE),
}
# What CleanRL's ppo.py and ppo_continuous_action.py do by themselves.
CLEANRL = {
    "CartPole-v1": setting("CartPole-v1", 4, 128, 128, 4, ppo__clip_vloss=True, update__ent_coef=0.01),
    "LunarLander-v3": setting("LunarLander-v3", 4, 128, 128, 4, ppo__clip_vloss=True, update__ent_coef=0.01),
    "Hopper-v5": setting("Hopper-v5", 1, 2048, 64, 10, ppo__clip_vloss=True, **NORMALIZED),
    "HalfCheetah-v5": setting("HalfCheetah-v5", 1, 2048, 64, 10, ppo__clip_vloss=True, **NORMALIZED),
}
CLEANRL_CALLS_IT = {  # it is written for Gymnasium 0.29, which has earlier versions of the same tasks
    "CartPole-v1": ("CartPole-v1", "ppo.py"),
    "LunarLander-v3": ("LunarLander-v2", "ppo.py"),
    "Hopper-v5": ("Hopper-v4", "ppo_continuous_action.py"),
    "HalfCheetah-v5": ("HalfCheetah-v4", "ppo_continuous_action.py"),
}
GRID_STEPS = {"CartPole-v1": 60_000, "LunarLander-v3": 60_000, "Hopper-v5": 30_000, "HalfCheetah-v5": 30_000}


@dataclass(frozen=True)
class Trained:
    """What came of one training, and how long it took."""

    env_steps: int
    seconds: float
    solved: bool = False
    aside: float = 0.0  # of the seconds, what no peer's have: the process's start and evaluations

    @property
    def speed(self) -> float:
        return self.env_steps / self.seconds

    @property
    def training(self) -> float:
        return self.seconds - self.aside


def printed(command: Sequence[str | Path], **options: Any) -> str:
    """Run a command where its own files (logs, MuJoCo's warnings) bother nobody; return what it prints."""
    with tempfile.TemporaryDirectory() as work:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work, **options)
    if outcome.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{outcome.stderr}")
    return outcome.stdout


def ours(config: Config | str, seed: int, *options: str) -> Trained:
    """Train by the command, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        name = config
        if isinstance(config, Config):
            name = str(Path(folder) / "config.yaml")
            Path(name).write_text(config.to_yaml())
        command = [sys.executable, "-m", "ppocli", "train", "--config", str(name), "--seed", str(seed), *options]
        start = time.perf_counter()
        result = json.loads(printed([*command, "--json", "--runs-dir", folder]))
        seconds = time.perf_counter() - start
    training = sum(spent for phase, spent in result["seconds"].items() if phase not in ("start_up", "evaluation"))
    return Trained(result["env_steps"], seconds, result["solved"], aside=seconds - training)


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's own environment, made on first use."""
    folder = HERE / ".peer" / peer
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {peer}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        printed([python, "-m", "pip", "install", "--quiet", "-r", HERE / "peers" / f"{peer}.txt"])
    return python


def sb3(config: Config, seed: int, target: float | None = None) -> Trained:
    """Train Stable-Baselines3 with a config's settings."""
    written = config.model_dump(mode="json")
    asked = {
        "env_id": config.env.id,
        "seed": seed,
        "num_envs": config.env.num_envs,
        "env_steps": config.train.env_steps,
        "target": target,
        "hidden_sizes": config.network.hidden_sizes,
        "activation": config.network.activation,
        "norm_obs": config.network.normalize_obs,
        "norm_reward": config.rollout.normalize_rewards,
        "settings": {
            "n_steps": config.rollout.horizon,
            "gamma": config.rollout.gamma,
            "gae_lambda": config.rollout.gae_lambda,
            "batch_size": config.update.minibatch_size,
            "n_epochs": config.update.update_epochs,
            "learning_rate": written["update"]["learning_rate"],
            "ent_coef": value_at(config.update.ent_coef, 0.0),  # it knows no schedule of it
            "vf_coef": config.update.vf_coef,
            "max_grad_norm": config.update.max_grad_norm,
            "clip_range": written["ppo"]["clip_coef"],
        },
    }
    result = json.loads(printed([python_of("sb3"), HERE / "peers" / "sb3.py", json.dumps(asked)]))
    return Trained(result["env_steps"], result["seconds"], result["solved"])


def cleanrl(folder: Path, config: Config, seed: int) -> Trained:
    """Train CleanRL's script with a config's settings; it prints its own speed, imports not counted."""
    env_id, script = CLEANRL_CALLS_IT[config.env.id]
    options = {
        "env-id": env_id,
        "seed": seed,
        "total-timesteps": config.train.env_steps,
        "num-envs": config.env.num_envs,
        "num-steps": config.rollout.horizon,
        "num-minibatches": config.batch_size // config.update.minibatch_size,
        "update-epochs": config.update.update_epochs,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [python_of("cleanrl"), folder.resolve() / "cleanrl" / script, *arguments]
    speeds = re.findall(r"SPS: (\d+)", printed(command, env=ONE_THREAD))
    return Trained(config.train.env_steps, config.train.env_steps / int(speeds[-1]))


def solved(presets: Sequence[str], seeds: int, with_peers: bool) -> None:
    """Enter to solved: ours the whole process, the peer its training alone."""
    results: dict[str, list[Trained]] = {}
    env_id = load_config(presets[0].partition(":")[0]).env.id

    def solve(preset: str, seed: int) -> Trained:
        name, _, backend = preset.partition(":")
        return ours(name, seed, "--set", f"env.backend={backend or 'gymnasium'}", "--stop-when-solved")

    for preset in presets:
        solve(preset, 0)  # warms the caches
    for seed in range(seeds):
        for preset in presets:
            results.setdefault(preset, []).append(solve(preset, seed))
        if with_peers:
            zoo, target = ZOO[env_id], {"LunarLander-v3": 200, "CartPole-v1": 475}[env_id]
            results.setdefault("Stable-Baselines3", []).append(sb3(zoo, seed, target))
        for name, runs in results.items():
            outcome = "solved" if runs[-1].solved else "NOT SOLVED"
            print(
                f"seed {seed}  {name:20}  {outcome} after {runs[-1].env_steps:9,}, {runs[-1].seconds:6.2f} s",
                flush=True,
            )

    def seconds(name: str) -> float:
        # What did not solve the task takes longer than all that did.
        return median(run.seconds if run.solved else math.inf for run in results[name])

    for name, runs in results.items():
        steps = [run.env_steps if run.solved else math.inf for run in runs]
        line = (
            f"{name:20}  median {seconds(name):.2f} s; env steps median {median(steps):,.0f}, worst {max(steps):,.0f}"
        )
        print(line + (f"; {seconds('Stable-Baselines3') / seconds(name):.1f} ×" if with_peers else ""), flush=True)


def end(presets: Sequence[str], seeds: int) -> None:
    """Env steps/s of whole trainings: ours start and evaluations included, the peer's without either."""
    for preset in presets:
        config = load_config(preset)
        settings = {"as RL Zoo has it": ZOO[config.env.id]} if config.env.id == "LunarLander-v3" else {}
        settings["the preset's settings"] = config
        for what, theirs in settings.items():
            pairs = []
            for seed in range(seeds):
                pairs.append((ours(preset, seed), sb3(theirs, seed)))
                us, peer = pairs[-1]
                print(
                    f"{preset} seed {seed}  {us.speed:,.0f}; Stable-Baselines3, {what}: {peer.speed:,.0f}", flush=True
                )
            print(f"{preset}, {what}: {median(us.speed / peer.speed for us, peer in pairs):.2f} ×", flush=True)


def defaults(rounds: int) -> None:
    """Seconds to 100,000 env steps with nothing set but the task: our whole process, and our training alone."""
    for env_id in ("CartPole-v1", "LunarLander-v3", "Pendulum-v1", "Hopper-v5"):
        mine = Config.model_validate({"env": {"id": env_id}, "train": {"env_steps": 100_000}})
        # What its PPO does by itself.
        theirs = setting(env_id, num_envs=1, horizon=2048, minibatch_size=64, epochs=10, train__env_steps=100_000)
        pairs = []
        for seed in range(rounds):
            pairs.append((ours(mine, seed), sb3(theirs, seed)))
            us, peer = pairs[-1]
            print(
                f"{env_id} seed {seed}  {us.seconds:.1f} s, of it training {us.training:.1f} s; "
                f"Stable-Baselines3 {peer.seconds:.1f} s",
                flush=True,
            )
        whole = median(peer.seconds / us.seconds for us, peer in pairs)
        alone = median(peer.seconds / us.training for us, peer in pairs)
        print(f"{env_id}: {whole:.2f} ×, training alone {alone:.2f} ×", flush=True)


def grid(rounds: int, cleanrl_folder: Path | None) -> None:
    """Env steps/s of short trainings with the same settings on both sides, each in turn."""
    cells: list[tuple[str, Config]] = [
        *((f"{env_id}, RL Zoo's", config) for env_id, config in ZOO.items()),
        *((f"{env_id}, CleanRL's", config) for env_id, config in CLEANRL.items()),
        ("Hopper-v5, the preset's", load_config("hopper")),
    ]
    for name, whole in cells:
        # No evaluations; episodes of a policy that has hardly learned are as long on both sides.
        config = whole.changed("train", env_steps=GRID_STEPS[whole.env.id], eval_episodes=1, target_return=None)
        sides: dict[str, Callable[[int], Trained]] = {
            "ours": lambda seed, config=config: ours(config, seed),
            "Stable-Baselines3": lambda seed, config=config: sb3(config, seed),
        }
        if cleanrl_folder and config.network.hidden_sizes == (64, 64):  # which it has written in
            sides["CleanRL"] = lambda seed, config=config: cleanrl(cleanrl_folder, config, seed)
        speeds: dict[str, list[float]] = {side: [] for side in sides}
        for seed in range(rounds):
            for side, train in sides.items():
                trained = train(seed)
                speeds[side].append(trained.env_steps / trained.training)
        line = ", ".join(f"{side} {median(found):,.0f}" for side, found in speeds.items())
        ratios = [
            f"{side} {median(a / b for a, b in zip(speeds['ours'], found, strict=True)):.2f} ×"
            for side, found in speeds.items()
            if side != "ours"
        ]
        print(f"{name:26}  {line}; ours against {', '.join(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["all", "solved", "end", "defaults", "grid"], default="all")
    parser.add_argument("--ours", nargs="+", metavar="PRESET[:envpool]", help="our side of `solved` or `end`")
    parser.add_argument("--seeds", type=int, help="seeds 0, 1, …; by default 5 for solved, 3 for grid, else 1")
    parser.add_argument("--cleanrl", type=Path, metavar="FOLDER", help="a clone of CleanRL, for `grid`")
    parser.add_argument("--no-peers", action="store_true", help="`solved` without a peer")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if options.part in ("all", "solved"):
        solved(options.ours or ["lunar_fast", "lunar_fast:envpool"], options.seeds or 5, not options.no_peers)
    if options.part in ("all", "end"):
        end(options.ours or ["lunar", "hopper"], options.seeds or 1)
    if options.part in ("all", "defaults"):
        defaults(options.seeds or 1)
    if options.part in ("all", "grid"):
        grid(options.seeds or 3, options.cleanrl)


if __name__ == "__main__":
    main()
