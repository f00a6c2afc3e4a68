"""Tries the odd environments by the command line, as a user would, and says where they end otherwise than expected."""

import argparse
import inspect
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import psutil

if __package__:
    from tests import odd_environments
else:  # as a program it lies beside them, and `tests` may be another checkout's
    import odd_environments

COMMANDS = ("train", "evaluate", "render", "resume")
BOUND_SECONDS = 120  # that a command has to end, which takes two: one that hangs is to fail
ROOT = Path(__file__).parents[1]
CONFIG = """
env: {num_envs: 4}
network: {hidden_sizes: [4]}
rollout: {horizon: 8}
update: {minibatch_size: 32, update_epochs: 1}
train: {env_steps: 128, eval_interval: 1000, eval_episodes: 12, snapshots: 0}
"""
ARGUMENTS = {
    "train": ["train", "--config", "task.yaml", "--json"],
    # Twelve: with a worker, it has the eleventh and the twelfth.
    "evaluate": ["evaluate", "latest", "--episodes", "12", "--json"],
    "render": ["render", "latest"],
    "resume": ["train", "--resume", "latest", "--set", "train.env_steps=256", "--json"],
    "report": ["report", "latest"],
    "check": ["check-env", "--config", "task.yaml", "--json"],
}
_NOT_THE_USERS = re.compile(
    r'File "[^"]*(/ppocli/(?!tests/)[^"]*|/gymnasium/[^"]*|importlib[^"]*)"'
    r'|File "[^"]*(/multiprocessing/[^"]*)", line \d+, in (?:_bootstrap|run|spawn_main|_main)\b'
)
"""Frames of a traceback that are above the user's own, and of no use to anybody but us."""


@dataclass(frozen=True)
class Ending:
    """How a command has ended."""

    code: int | None  # None where it never did
    stdout: str
    stderr: str
    left_behind: list[str]  # processes

    @property
    def last_line(self) -> str:
        return (self.stderr.splitlines() or [""])[-1]


def attempt(case, mode: str, folder: Path, commands: Sequence[str] = COMMANDS, bound: float = BOUND_SECONDS):
    """Try commands on an environment, in an empty folder; yield each with how it ended, and what is wrong with that."""
    (folder / "elsewhere").mkdir(parents=True)
    shutil.copy(odd_environments.__file__, folder)
    (folder / "odd_module.py").write_text(case.module)
    (folder / "task.yaml").write_text(CONFIG)
    for command in [*commands, *(["report"] if case.report and set(COMMANDS) <= set(commands) else [])]:
        if command not in ("train", "check") and not list(folder.glob("runs/**/last.safetensors")):
            shutil.rmtree(folder / "runs", ignore_errors=True)
            ending = _run("train", case, mode, folder, bound, ODD_HEALTHY="1")
            if ending.code != 0:
                yield command, ending, f"not tried: not trained when it behaves, either: {ending.last_line!r}"
                continue
        ending = _run(command, case, mode, folder, bound)
        yield command, ending, deviation(case, command, mode, ending, folder)


def _run(command: str, case, mode: str, folder: Path, bound: float, **variables: str) -> Ending:
    imports = ["--import", "odd_environments"]
    if case.module and not variables:
        imports += ["--import", "odd_module"]
    arguments = [*ARGUMENTS[command], *imports]
    if command == "render" and case.film != "mp4":
        arguments += ["--output", f"runs/film.{case.film}"]
    if command in ("train", "check"):
        settings = [f"env.id={case.env_id}", f"env.workers={mode}"]
        if mode == "auto":
            settings += ["env.num_envs=16"]  # enough for a worker
        arguments += [word for setting in (*settings, *case.config) for word in ("--set", setting)]
    mark = secrets.token_hex()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ODD_MARK": mark, "ODD_PORT": str(_free_port())} | variables
    environment["ODD_ELSEWHERE"] = str(folder / "elsewhere")
    # Files, not pipes, which whoever is left behind would hold open.
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ppocli", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(bound)
        except subprocess.TimeoutExpired:
            code = None
            process.kill()
            process.wait()
        left = _end_all(mark)
    texts = [(folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
    return Ending(code, *texts, left)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _end_all(mark: str) -> list[str]:
    """End the processes that have the mark in their environment, and return those that did not of themselves."""
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ODD_MARK") == mark:
                marked.append(process)
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(marked, timeout=3)
    named = []
    for process in alive:
        try:
            named.append(" ".join(process.cmdline()))
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    return named


def deviation(case, command: str, mode: str, ending: Ending, folder: Path) -> str:
    """Return the first thing that is not as it is to be, else an empty text."""
    return next(_deviations(case, command, mode, ending, folder), "")


def _deviations(case, command: str, mode: str, ending: Ending, folder: Path) -> Iterator[str]:
    if ending.code is None:
        yield f"hangs: {ending.last_line!r}"
    if frame := _NOT_THE_USERS.search(ending.stderr):
        yield f"a traceback of ours, {frame[1] or frame[2]}: {ending.last_line!r}"
    for noise in ("Exception ignored", "resource_tracker"):
        if noise in ending.stderr:
            yield f"stderr has {noise!r}"
    if ending.left_behind and not case.leaves_processes:
        yield f"left behind: {ending.left_behind}"
    if command == "check" and not (case.module and ending.code == 2):
        yield from _checked(case, ending)
        return
    expected = case.expected(command, mode)
    refusals = [regex for regex in expected if regex != odd_environments.WORKS]
    if ending.code != 0:
        if not refusals:
            yield f"exit code {ending.code}: {ending.last_line!r}"
        yield from _refused(case, ending, refusals, folder)
    elif len(refusals) == len(expected):
        yield "not refused"
    else:
        yield from _worked(case, command, mode, ending, folder)


def _refused(case, ending: Ending, refusals: Sequence[str], folder: Path) -> Iterator[str]:
    line = ending.last_line
    if ending.code not in (1, 2):
        yield f"exit code {ending.code}: {line!r}"
    if not line.startswith("error: "):
        yield f"the last line is no error: {line!r}"
    if not any(re.match(regex.replace("ENV", re.escape(case.env_id)), line) for regex in refusals):
        yield f"{line!r} does not match {' or '.join(refusals)}"
    if ending.stdout:
        yield f"stdout: {ending.stdout!r}"
    if "Traceback" in ending.stderr and not case.place and not case.shows:
        yield f"a traceback, though nothing of the user's raised: {line!r}"
    states = [json.loads(path.read_text())["state"] for path in folder.glob("runs/*/*/run.json")]
    if "running" in states:
        yield f"the run is said to be running still: {line!r}"
    if case.place:
        source, first = inspect.getsourcelines(case.cls)
        shown = map(int, re.findall(r'odd_environments\.py(?:", line |:)(\d+)', ending.stderr))
        if not any(first <= number < first + len(source) for number in shown):
            yield f"the environment's own line is not shown: {line!r}"
    if not re.search(case.shows, ending.stderr):
        yield f"stderr has nothing like {case.shows}: {line!r}"


def _worked(case, command: str, mode: str, ending: Ending, folder: Path) -> Iterator[str]:
    if command == "render":
        if not re.fullmatch(r"episode 1: return .*\nvideo: \S+\n", ending.stdout):
            yield f"stdout: {ending.stdout!r}"
        videos = list(folder.glob(f"runs/**/*.{case.film}"))
        if not videos:
            yield "there is no film"
            return
        colour = imageio.imread(videos[0], index=0).mean(axis=(0, 1))
        if np.abs(colour - case.colour).max() > 8:
            yield f"the film has the colour {colour} rather than {case.colour}"
        return
    if command == "report":
        if not re.fullmatch(r"report: \S+\n", ending.stdout) or not list(folder.glob("runs/**/report.html")):
            yield f"stdout: {ending.stdout!r}, and perhaps no page"
        return
    try:
        result = json.loads(ending.stdout)
    except ValueError:
        yield f"stdout is not one JSON object: {ending.stdout[:200]!r}"
        return
    if command == "train":
        cores = len(getattr(os, "sched_getaffinity", lambda _: [0])(0))  # where nobody knows, no worker is asked for
        warns = case.auto_warns if mode == "auto" and cores > 1 else case.warns
        if not re.search(warns, ending.stderr):
            yield f"stderr has nothing like {warns}"
    if command == "evaluate":
        if not re.search(case.reports, ending.stdout):
            yield f"stdout has nothing like {case.reports}"
        if not np.isclose(result["return_mean"], case.pays * result["length_mean"]):
            yield f"a return of {result['return_mean']} in {result['length_mean']} steps that pay {case.pays} each"


def _checked(case, ending: Ending) -> Iterator[str]:
    level, says = case.finding
    try:
        findings = json.loads(ending.stdout)["findings"]
    except ValueError:
        yield f"stdout is not one JSON object: {ending.stdout[:200]!r}: {ending.last_line!r}"
        return
    if ending.code != (level == "error"):
        yield f"exit code {ending.code}"
    found = [(one["level"], f"{case.env_id}: {one['message']}; {one['advice']}") for one in findings]
    worst = [text for its_level, text in found if its_level == level]
    grave = [text for its_level, text in found if its_level != "hint"]
    if level and (found[:1] or [("", "")])[0][0] != level:
        yield f"no {level} is the gravest: {found}"
    elif level and not any(re.match(says.replace("ENV", re.escape(case.env_id)), text) for text in worst):
        yield f"none of {worst} matches {says}"
    elif not level and grave:
        yield f"found: {grave}"


def main() -> None:
    """Try the environments that the command line names, or all; print how each ended."""
    parser = argparse.ArgumentParser(description="Try the odd environments by the command line, as a user would.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    parser.add_argument("--workers", choices=("0", "1", "auto"), help="only with env.workers so")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--bound", type=float, default=BOUND_SECONDS, help="seconds that a command has")
    parser.add_argument("--verbose", action="store_true", help="print what each command wrote to stderr, too")
    options = parser.parse_args()
    cases = [odd_environments.CASES[name] for name in options.names] or list(odd_environments.CASES.values())
    tries = [(case, mode) for case in cases for mode in case.modes if options.workers in (None, mode)]

    def try_out(case, mode: str) -> tuple[str, bool]:
        with tempfile.TemporaryDirectory() as folder:
            commands = (*COMMANDS, "check") if mode == case.modes[0] else COMMANDS
            results = list(attempt(case, mode, Path(folder, case.name), commands, options.bound))
        lines = [f"    {command}: {wrong}" for command, _, wrong in results if wrong]
        if options.verbose:
            lines += [f"    {command} | {line}" for command, end, _ in results for line in end.stderr.splitlines()]
        outcomes = ["FAIL" if wrong else "refused" if end.code else "works" for _, end, wrong in results]
        passed = not any(wrong for _, _, wrong in results)
        row = f"{case.name:20} {mode:4}  {'  '.join(f'{outcome:7}' for outcome in outcomes)}"
        return "\n".join([f"{row}  {'PASS' if passed else 'FAIL'}", *lines]), passed

    header = "  ".join(f"{command:7}" for command in (*COMMANDS, "check"))
    print(f"{'environment':20} {'workers':4} {header}")
    with ThreadPoolExecutor(options.jobs) as pool:
        passed = []
        for text, well in pool.map(lambda one: try_out(*one), tries):
            print(text, flush=True)
            passed.append(well)
    print(f"{sum(passed)} of {len(passed)} as expected")
    sys.exit(not all(passed))
