"""What the tests of the command line share."""

import json
import threading
from contextlib import contextmanager

FAST = (
    *("--set", "train.env_steps=2048", "--set", "train.eval_interval=1024", "--set", "train.eval_episodes=5"),
    *("--set", "env.num_envs=8", "--set", "rollout.horizon=32", "--set", "update.minibatch_size=256"),
    *("--set", "update.learning_rate=1e-3", "--set", "train.snapshots=2"),
)
"""A training of a moment: for all that a run consists of, with an agent that does not make episodes long."""
PATIENCE_SECONDS = 300
"""That a process has to end, which takes seconds; a test that fails is not to hang."""


@contextmanager
def patience(process):
    """Kill a process that has not said within the block what it is waited for, so that reading it comes to an end."""
    limit = threading.Timer(PATIENCE_SECONDS, process.kill)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def error_line(outcome, exit_code):
    assert outcome.exit_code == exit_code
    assert outcome.stdout == ""
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]
