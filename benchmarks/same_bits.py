"""Whether two checkouts train to the same bits: weights after some iterations, and the logs' reproducible columns.

    git worktree add /tmp/before main
    python benchmarks/same_bits.py /tmp/before .

Each configuration is trained by the command of both checkouts, on this machine and with this Python; what came out is
compared. For changes of shape, which must change no result. Bits depend on processor and torch, so that no stored
digest could say it. Tensors that only one side has (of a part that is new) are listed, not compared.
"""

import argparse
import csv
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ITERATIONS = 10
SMALL = [
    "env.num_envs=8",
    "ppo.horizon=32",
    "ppo.minibatch_size=64",
    "ppo.update_epochs=4",
    "network.hidden_sizes=[16]",
]

# What is trained: a preset, what of it is changed, and how many env steps an iteration has then.
PRESETS = {
    "acrobot": 4096,
    "bipedal_walker": 8192,
    "cartpole": 2048,
    "hopper": 2048,
    "lunar": 4096,
    "lunar_continuous": 4096,
    "lunar_fast": 2048,
    "mountain_car": 8192,
    "mountain_car_continuous": 4096,
    "pendulum": 2048,
    "notebook/cartpole": 256,
    "notebook/lunar": 512,
}
CONFIGURATIONS = {preset: (preset, [], batch_size) for preset, batch_size in PRESETS.items()} | {
    "normalize_obs": ("cartpole", [*SMALL, "network.normalize_obs=true"], 256),
    "normalize_rewards": ("cartpole", [*SMALL, "ppo.normalize_rewards=true"], 256),
    "target_kl": ("cartpole", [*SMALL, "ppo.target_kl=0.002", "ppo.learning_rate=1e-2"], 256),
    "clip_vloss": ("cartpole", [*SMALL, "ppo.clip_vloss=true", "ppo.norm_adv=false"], 256),
    "uniform init, elu": ("cartpole", [*SMALL, "network.init=uniform", "network.activation=elu"], 256),
    "cosine schedules": (
        "cartpole",
        [*SMALL, "ppo.learning_rate={start: 1e-2, end: 1e-3, shape: cosine}", "ppo.clip_coef={start: 0.3, end: 0.1}"],
        256,
    ),
    "continuous": ("pendulum", [*SMALL, "network.log_std_init=-0.5", "ppo.ent_coef=0.01"], 256),
    "one-hot observations": ("cartpole", [*SMALL, "env.id=Taxi-v4", "train.eval_episodes=1"], 256),
    "workers 0": ("lunar", [*SMALL, "env.workers=0"], 256),
    "workers 1": ("lunar", [*SMALL, "env.workers=1"], 256),
    "envpool": ("lunar", [*SMALL, "env.backend=envpool"], 256),
    "solved and stopped": ("cartpole", [*SMALL, "train.target_return=20"], 256),
}


def train(checkout: Path, configuration: str, folder: Path) -> Path:
    """Train with a checkout's own code; return the run's directory."""
    preset, settings, batch_size = CONFIGURATIONS[configuration]
    settings = [f"train.env_steps={ITERATIONS * batch_size}", f"train.eval_interval={4 * batch_size}", *settings]
    if not any(setting.startswith("train.eval_episodes") for setting in settings):
        settings.append("train.eval_episodes=3")
    command = [sys.executable, "-m", "ppocli", "train", "--config", preset, "--seed", "7", "--quiet", "--json"]
    command += [word for setting in settings for word in ("--set", setting)]
    if configuration == "solved and stopped":
        command.append("--stop-when-solved")
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    folder.mkdir(parents=True)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{checkout}: {configuration}: {done.stderr}")
    return Path(json.loads(done.stdout)["run_dir"])


def parts(path: Path) -> dict[str, bytes]:
    """Return each tensor of a checkpoint as dtype, shape and bytes, and how far it has come, times aside."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    progress = json.loads(header.pop("__metadata__")["ppocli"])["progress"]
    timeless = {key: value for key, value in progress.items() if not key.endswith(("seconds", "bytes"))}
    return {"progress": json.dumps(timeless).encode()} | {
        name: f"{place['dtype']} {place['shape']} ".encode() + data[slice(*place["data_offsets"])]
        for name, place in header.items()
    }


def rows(path: Path) -> list[dict[str, str]]:
    """Return a log without its columns of times."""
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.endswith(("seconds", "per_second"))}
            for row in csv.DictReader(file)
        ]


def differences(one: Path, other: Path) -> tuple[list[str], int]:
    """Return in what two runs differ, and how many values were compared."""
    found, compared = [], 0
    for name in ("last", "best"):
        ours, theirs = (parts(run / "checkpoints" / f"{name}.safetensors") for run in (one, other))
        found += [f"{name}: {key} differs" for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
        found += [f"{name}: only one side has {key}" for key in sorted(ours.keys() ^ theirs.keys())]
        compared += sum(len(value) // 4 for value in ours.values())
    for name in ("metrics.csv", "episodes.csv"):
        ours, theirs = rows(one / name), rows(other / name)
        if len(ours) != len(theirs):
            found.append(f"{name}: {len(ours)} rows and {len(theirs)}")
        for number, (row, its) in enumerate(zip(ours, theirs, strict=False), start=1):
            wrong = [key for key in row.keys() & its.keys() if row[key] != its[key]]
            if wrong:
                found.append(f"{name}: row {number}: {', '.join(wrong)}")
                break
        compared += sum(map(len, ours))
    return found, compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs=2)
    parser.add_argument("--only", choices=sorted(CONFIGURATIONS), action="append", help="by default all")
    arguments = parser.parse_args()
    all_equal = True
    for configuration in arguments.only or CONFIGURATIONS:
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                train(checkout, configuration, Path(folder) / str(number))
                for number, checkout in enumerate(arguments.checkouts)
            ]
            found, compared = differences(*runs)
        all_equal &= not found
        print(f"{configuration:25} {'; '.join(found) or f'equal ({compared:,} values)'}", flush=True)
    sys.exit(not all_equal)


main()
