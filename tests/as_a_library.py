"""A program of somebody else's that trains, and minds what becomes of what belongs to the whole process."""

import gc
import os
import random
import signal
import sys
import threading
from pathlib import Path

import gymnasium  # noqa: F401 - sets an environment variable
import numpy as np
import torch


def process():
    return {
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "signals that wait": signal.pthread_sigmask(signal.SIG_BLOCK, []) if sys.platform != "win32" else None,
        "threads of torch": torch.get_num_threads(),
        "type of torch": torch.get_default_dtype(),
        "random numbers": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "working directory": Path.cwd(),
        "environment variables": dict(os.environ),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "way to modules": [*sys.path],
        "garbage": (gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
    }


def own_handler(number, frame):
    heard.append(number)


heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, own_handler)
torch.set_num_threads(2)
torch.fft.fft(torch.zeros(2))  # whatever torch sets up at its first work, it has
before = process()

import ppocli  # noqa: E402

assert ppocli.__version__
imported = process()

from ppocli.config.models import Config  # noqa: E402
from ppocli.records.run import Run  # noqa: E402
from ppocli.records.writer import RunWriter  # noqa: E402
from ppocli.training.job import Job  # noqa: E402
from ppocli.training.loop import train  # noqa: E402

config = Config.model_validate(
    {
        "env": {"id": "Pendulum-v1", "num_envs": 2, "workers": 1},
        "network": {"hidden_sizes": [4]},
        "rollout": {"horizon": 8},
        "update": {"minibatch_size": 16},
        "train": {"env_steps": 32, "eval_episodes": 1},
    }
)
trained = {}


def do(name):
    trained[name] = list(train(Job(config, RunWriter(Run(Path(name))))))


def assert_untouched(after):
    for name, value in before.items():
        assert after[name] == value, f"{name}: {value} → {after[name]}"


do("run")
assert_untouched(imported)
assert_untouched(process())
thread = threading.Thread(target=do, args=("run in a thread",))
thread.start()
signal.raise_signal(signal.SIGTERM)  # the program's own business, and no end of the training
thread.join()
assert_untouched(process())
assert heard == [signal.SIGTERM]
first, second = (trained[name][-1] for name in ("run", "run in a thread"))
assert first.progress.env_steps == second.progress.env_steps == 32
assert first.metrics.policy_loss == second.metrics.policy_loss
assert Run(Path("run in a thread")).info.state == "finished"
