"""Environments with one fault each, and what is found about it; and those that have none."""

import itertools
import mmap
import random
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from ppocli.config.load import default_config
from ppocli.config.models import Config
from ppocli.envs import gymnasium as backend
from ppocli.envs.check import QUESTIONS, Report, check, prints
from ppocli.envs.checks import gymnasium, shown, tried
from ppocli.envs.checks.shown import bounds
from ppocli.envs.checks.trial import Budget, Trial, trace
from ppocli.errors import PpocliError, UsageError
from tests.cli.commands import PATIENCE_SECONDS, strict_json
from tests.environments import side_by_side
from tests.odd_environments import Line, in_worker

STEPS = Budget(seconds=60.0, env_steps=2_000, patience=60.0)  # so that all goes the same way each time
LONG_AGO = itertools.count(0, 10).__next__  # a clock by which every part is over at once
OVER, STARTED, SHARED = threading.Event(), [], np.zeros(3)


class Healthy(Line):
    """Where it is follows from its own generator and from what is done; it shows that, and pays for the first of it."""

    observation_space = Box(-2, 2, (3,))

    def begin(self):
        self.place = self.np_random.uniform(-1, 1, 3)

    def act(self, action):
        self.place = np.clip(self.place + self.np_random.normal(size=3) / 10 + np.ravel(action)[0] / 50, -2, 2)

    def obs(self):
        return self.place.astype(np.float32)

    def reward(self):
        return float(self.place[0])


@dataclass(frozen=True)
class Fault:
    """A question, and what it is to find in an environment with a fault."""

    question: Any
    level: str
    says: str  # regex of the message, and after a line's end the advice
    config: tuple[str, ...]  # what the user sets
    settings: dict[str, Any]  # what is recommended
    env_id: str


FAULTS = {}


def fault(
    name,
    question,
    level,
    says,
    *,
    base=Healthy,
    entry=None,
    limit=100,
    vector=None,
    config=(),
    settings=None,
    **methods,
):
    """Put an environment into the table that is a healthy one but for a few methods."""
    cls = type("Faulty", (base,), {"__module__": __name__, **methods})
    env_id = f"faulty/{name.title().replace(' ', '')}-v0"
    gym.register(env_id, entry or cls, max_episode_steps=limit, vector_entry_point=vector)
    FAULTS[name] = Fault(question, level, says, config, settings or {}, env_id)


def raising(message):
    def method(self, *_):
        raise ValueError(message)

    return method


# --- whether it can be made and played --------------------------------------------------------------------------------


def hangs(self, action):
    while True:
        pass


fault("cannot be made", tried.made, "error", r"no fuel \(test_check.py:\d+, in method\)", set_up=raising("no fuel"))
fault("speaks", tried.spaces, "error", "has observations Text.*\nsupported are", observation_space=Text(5))
fault(
    "differing copies",
    tried.spaces,
    "error",
    "copies do not have the same",
    numbers=itertools.count(3),
    set_up=lambda self: setattr(self, "observation_space", Box(-2, 2, (next(self.numbers),))),
)
fault(
    "pictures",
    tried.spaces,
    "warning",
    r"\(10, 10, 3\) look like pictures; they are flattened into 300 numbers\nshow numbers",
    observation_space=Box(0, 255, (10, 10, 3), np.uint8),
    obs=lambda self: self.observation_space.sample(),
)
fault(
    "old reset",
    tried.plays,
    "error",
    r"reset\(\) gave.*\nGymnasium expects reset\(seed=…\) to return",
    reset=lambda self, *, seed=None, options=None: Line.reset(self, seed=seed)[0],
)
fault("no seed", tried.plays, "error", "unexpected keyword argument 'seed'", reset=lambda self: None)
fault(
    "old step",
    tried.plays,
    "error",
    r"in step 1 .*\nGymnasium expects step\(action\) to return",
    step=lambda self, action: Line.step(self, action)[:4],
)
fault("raises", tried.plays, "error", r"no fuel \(test_check.*in step 1 .*\n.*lead there again", act=raising("no fuel"))
fault(
    "no number",
    tried.plays,
    "error",
    "its observation in step 3 .*not a finite number\n.*division by 0",
    obs=lambda self: np.full(3, np.nan if self.steps == 3 else 0.0, np.float32),
)
fault(
    "infinite", tried.plays, "error", "its reward in step 1 .* is inf: not a finite number", reward=lambda self: np.inf
)
fault("another shape", tried.plays, "error", r"an array \(2,\)", obs=lambda self: np.zeros(2, np.float32))
fault("no choice", tried.plays, "error", "is 4 .*Discrete", observation_space=Discrete(4), obs=lambda self: 4)
fault("text flag", tried.plays, "error", "its terminated is 'False'", flags=lambda self: ("False", False))
fault("nothing allowed", tried.plays, "error", "allows nothing", info=lambda self: {"action_mask": np.zeros(2, "i1")})
fault("hangs", tried.plays, "error", "0.2 s were not enough.*played.*\nlook for what never ends", act=hangs)

# --- what Gymnasium's own checkers say --------------------------------------------------------------------------------


def needs_seed(self):
    assert self.seed is not None
    Healthy.begin(self)


def own_generator(self, *, seed=None, options=None):
    self.place, self.steps, self.length = np.random.default_rng(seed).uniform(-1, 1, 3), 0, 8
    return self.obs(), {}


def in_a_buffer(self):
    self.buffer[:] = self.place
    return self.buffer


fault(
    "other dtype", gymnasium.follows, "hint", "float32, actual type: float64\n.*takes it", obs=lambda self: self.place
)
fault("list", gymnasium.follows, "hint", "numpy array, actual type: .*list", obs=lambda self: self.place.tolist())
fault(
    "reused", gymnasium.follows, "hint", "share\n? an object.*\nshow a copy", buffer=np.zeros(3, "f"), obs=in_a_buffer
)
fault(
    "own generator",
    gymnasium.follows,
    "hint",
    r"\nbegin reset\(\) with super\(\).reset",
    reset=own_generator,
    act=lambda self, action: None,
)
fault(
    "default seed",
    gymnasium.follows,
    "hint",
    "\nlet seed be None",
    reset=lambda self, *, seed=3, options=None: Line.reset(self, seed=seed),
)
fault("needs a seed", gymnasium.follows, "hint", r"came upon AssertionError.* in needs_seed\)\n", begin=needs_seed)

# --- what it shows and pays -------------------------------------------------------------------------------------------

HUGE = {"observation_space": Box(-1e6, 1e6, (3,)), "obs": lambda self: (self.place * 1e4).astype(np.float32)}
RAW = ("network.normalize_obs=false", "rollout.normalize_rewards=false")

fault(
    "never ends",
    shown.limit,
    "warning",
    "in 2,000 env steps of chance no episode has ended\n.*max_episode_steps",
    ends=lambda self: False,
    limit=None,
    settings={"env.max_episode_steps": 1000},
)
fault("no limit", shown.limit, "hint", "truncated after 10,000 env steps\nset env.max_episode_steps if", limit=None)
fault("unpaid", shown.rewards, "warning", "2,000 env steps of chance have paid nothing", reward=lambda self: 0.0)
fault(
    "alike",
    shown.rewards,
    "hint",
    r"all \d+ episodes of chance have returned 8",
    reward=lambda self: 1.0,
    ends=lambda self: self.steps == 8,
)
fault(
    "large raw rewards",
    shown.rewards,
    "warning",
    "varies by .*\nset rollout.reward_scale=0.0001",
    reward=lambda self: 4e3 * self.place[0],
    config=RAW,
    settings={"rollout.reward_scale": 1e-4},
)
fault(
    "outside",
    shown.observations,
    "warning",
    r"dimension 1 of the observation's 3 left its space: .*, not -0.5 to 0.5\nwiden",
    observation_space=Box(np.array([-2, -0.5, -2], "f"), np.array([2, 0.5, 2], "f")),
)
fault("blind", shown.observations, "warning", "the observation never changed", obs=lambda self: np.ones(3, np.float32))
fault(
    "constant",
    shown.observations,
    "hint",
    r"^dimensions 1-2 of the observation's 3 never changed",
    obs=lambda self: np.array([self.place[0], 0, 1], np.float32),
)
fault(
    "huge raw",
    shown.observations,
    "warning",
    r"^dimensions 0-2 .* had a size far from 1: -\d+.*\nset network.normalize_obs=true",
    config=RAW,
    settings={"network.normalize_obs": True},
    **HUGE,
)
fault(
    "tiny raw",
    shown.observations,
    "warning",
    "dimensions 0-2 .* had a size far from 1",
    config=RAW,
    settings={"network.normalize_obs": True},
    obs=lambda self: (self.place / 1e3).astype(np.float32),
)
fault(
    "too fine",
    shown.observations,
    "warning",
    "varied too little for float32: 999999 to 1e[+]06",
    observation_space=Box(0, 2e6, (3,)),
    obs=lambda self: (1e6 + self.place).astype(np.float32),
)

# --- what it allows ---------------------------------------------------------------------------------------------------

ALL, FIRST = np.ones(2, np.int8), np.array([1, 0], np.int8)
fault(
    "mask of numbers",
    tried.masked,
    "warning",
    "they are real numbers",
    action_space=Box(-1, 1, (1,)),
    info=lambda self: {"action_mask": ALL},
)
fault(
    "mask in steps",
    tried.masked,
    "warning",
    r"step\(\) says .* as reset\(\) does not",
    info=lambda self: {"action_mask": FIRST} if self.steps else {},
)
fault(
    "two masks",
    tried.masked,
    "warning",
    r"action_masks\(\) allows other actions",
    action_masks=lambda self: FIRST,
    info=lambda self: {"action_mask": ALL},
)
fault("nothing forbidden", tried.masked, "hint", "forbidden nothing in 2,000", action_masks=lambda self: ALL)
fault(
    "mask left out",
    tried.masked,
    "hint",
    "env.action_masks is off",
    action_masks=lambda self: FIRST,
    config=("env.action_masks=false",),
)

# --- whether its episodes can be played again -------------------------------------------------------------------------


def seeds_all(self):
    np.random.seed(self.seed)
    Healthy.begin(self)


def counts_on(self):
    self.episodes = getattr(self, "episodes", 0) + 1
    self.place = np.full(3, 1 / self.episodes)


def keeps_it_in_the_module(self, action):
    SHARED[:] = SHARED + 0.01
    self.place = np.clip(SHARED, -2, 2)


def begins_in_the_module(self):
    SHARED[:] = self.np_random.uniform(-1, 1, 3)
    self.place = SHARED.copy()


GLOBALLY = r"in another object: its observation in step 1 differs.*--allow-inexact.*\n.*self.np_random.*instead of "
fault(
    "numpy globally",
    tried.reproducible,
    "warning",
    f"{GLOBALLY}np.random$",
    act=lambda self, action: setattr(self, "place", np.random.uniform(-1, 1, 3)),
)
fault(
    "random globally",
    tried.reproducible,
    "warning",
    f"{GLOBALLY}random$",
    act=lambda self, action: setattr(self, "place", np.full(3, random.random())),
)
fault(
    "carried over",
    tried.reproducible,
    "warning",
    r"those before it in the same object: its first observation differs.*\nlet reset\(\) put back",
    begin=counts_on,
)
fault(
    "counts in the class",
    tried.reproducible,
    "warning",
    r"in another object: its reward in step 1 differs.*\n.*after super\(\)",
    number=itertools.count(),
    reward=lambda self: float(next(self.number)),
)
fault(
    "shared by copies",
    tried.copies,
    "error",
    "copies change each other: its observation in step 1 differs.*\nkeep state in self",
    begin=begins_in_the_module,
    act=keeps_it_in_the_module,
)
fault(
    "seeded for all",
    tried.copies,
    "warning",
    "random numbers from each other: its observation in step 1",
    begin=seeds_all,
    act=lambda self, action: setattr(self, "place", np.random.uniform(-1, 1, 3)),
)

# --- what it leaves behind, and gathers -------------------------------------------------------------------------------


def starts_thread(self):
    threading.Thread(target=OVER.wait, name="forgotten", daemon=True).start()


def starts_process(self):
    STARTED.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))


def gathers(self, action):
    self.__dict__.setdefault("gathered", []).append(bytes(1000))


def gathers_pages(self, action):
    self.__dict__.setdefault("gathered", []).append(mmap.mmap(-1, 4096))
    self.gathered[-1].write(bytes(range(256)) * 16)


fault("thread", tried.leaves, "warning", r"close\(\) leaves the thread forgotten behind", set_up=starts_thread)
fault("process", tried.leaves, "warning", r"close\(\) leaves the process \d+ behind", set_up=starts_process)
fault(
    "stuck", tried.leaves, "warning", "door is stuck.*when it was closed\nmend close", end=raising("the door is stuck")
)
fault("gathers", tried.memory, "warning", r"grows: 1,\d\d\d bytes an env step, 1.\d GB in a million", act=gathers)
if sys.platform == "linux":  # elsewhere only what Python itself counts is known
    fault("gathers pages", tried.memory, "warning", r"grows: \d,\d\d\d bytes an env step", act=gathers_pages)

fault(
    "sees nothing",
    shown.observations,
    "warning",
    "picture 1, 1 × 20 × 20, never changed\nsee with ppocli render whether it is drawn",
    observation_space=Dict(camera=Box(0, 255, (20, 20), np.uint8), place=Healthy.observation_space),
    obs=lambda self: {"camera": np.full((20, 20), 7, np.uint8), "place": self.place.astype(np.float32)},
)
fault(
    "sees and leaves",
    shown.observations,
    "warning",
    r"dimension 2 of the observation's 3 left its space",
    observation_space=Dict(camera=Box(0, 255, (20, 20), np.uint8), place=Box(-2, 2, (3,))),
    obs=lambda self: {
        "camera": np.full((20, 20), self.steps, np.uint8),
        "place": np.array([*self.place[:2], 3], np.float32),
    },
)
fault(
    "tells nothing",
    shown.infos,
    "warning",
    "no episode of chance has ended with fuel as a number in its info",
    config=["env.info_keys=[is_success, fuel]"],
    info=lambda self: {"is_success": True, "fuel": "much"},
)

# --- how it is drawn --------------------------------------------------------------------------------------------------


class TakesNoMode(Healthy):
    def __init__(self):
        self.set_up()


WINDOW = {"render_modes": ["human"], "render_fps": 30}
fault("no mode", gymnasium.drawn, "hint", "no render mode rgb_array\nonly films", metadata=WINDOW)
fault("takes no mode", gymnasium.drawn, "warning", "it cannot be drawn: TypeError.*render_mode", base=TakesNoMode)
fault("dry", gymnasium.drawn, "warning", "cannot be drawn here: ValueError: dry", frame=raising("dry"))
fault("text frames", gymnasium.drawn, "warning", "gave 'x'.* no picture", frame=lambda self: "x")
fault(
    "grows", gymnasium.drawn, "warning", "change their size", frame=lambda self: np.zeros((8 + self.steps, 8, 3), "B")
)
fault("floats", gymnasium.drawn, "hint", "dtype uint8, got float64\n", frame=lambda self: np.zeros((8, 8, 3)))
fault("no rate", gymnasium.drawn, "hint", "\nput render_fps into", metadata={"render_modes": ["rgb_array"]})
fault("no metadata", gymnasium.drawn, "hint", "\nmetadata = ", metadata={})

# --- worker processes -------------------------------------------------------------------------------------------------


def fails_in_workers(self, action):
    if in_worker():
        raise ValueError("not here")


class FailsInWorkers(Healthy):
    act = fails_in_workers


def local():
    class Local(Healthy):
        pass

    return Local


fault(
    "cannot be sent",
    tried.stepping,
    "warning",
    "worker processes cannot be given .*Local.*\nenv.workers=0 needs none",
    entry=local(),
    settings={"env.workers": 0},
)
fault(
    "fails in workers",
    tried.stepping,
    "error",
    "not here .*in step 1 .*\nset env.workers=0",
    entry=FailsInWorkers,
    settings={"env.workers": 0},
)

# --- its own vectorised form ------------------------------------------------------------------------------------------


def unseeded(num_envs, max_episode_steps):
    envs = side_by_side("Healthy-v0", num_envs)
    reset = envs.reset
    envs.reset = lambda *, seed=None, options=None: reset(options=options)
    return envs


VECTOR = ["env.backend=vector"]
fault(
    "other vector",
    tried.together,
    "error",
    "vectorised form does not have the spaces",
    vector=partial(side_by_side, "Pendulum-v1"),
    config=VECTOR,
)
fault(
    "unseeded vector",
    tried.together,
    "warning",
    "in its vectorised form: its first observation differs",
    vector=unseeded,
    config=VECTOR,
)


# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_left_of_an_environment():
    yield
    OVER.set()
    for process in STARTED:
        process.communicate()
    STARTED.clear()
    OVER.clear()


def ask(fault: Fault, budget=STEPS) -> Report:
    """Ask one question, of an environment that has been played."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppocli.envs.check.QUESTIONS", list(dict.fromkeys([tried.plays, fault.question])))
        return check(default_config(fault.env_id, fault.config), budget)


def changes(config: Config, before: Config) -> dict[str, Any]:
    return {key: value for key, value in config.leaves().items() if value != before.leaves()[key]}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name):
    fault = FAULTS[name]
    report = ask(fault, replace(STEPS, patience=0.2) if name == "hangs" else STEPS)
    said = [f"{found.message}\n{found.advice}" for found in report.findings if found.level == fault.level]
    assert any(re.search(fault.says, text) for text in said), report.findings
    assert changes(report.config, default_config(fault.env_id, fault.config)) == fault.settings
    assert report.is_fit == (fault.level != "error")


gym.register("Healthy-v0", Healthy, max_episode_steps=100, vector_entry_point=partial(side_by_side, "Healthy-v0"))


def test_a_healthy_environment_has_none():
    report = check(default_config("Healthy-v0"), STEPS)
    assert report.findings == []
    assert report.random_policy["episodes"] > 100
    assert set(report.env_steps_per_second) == {"one_process", "with_workers"}
    assert report.config == default_config("Healthy-v0")


@pytest.mark.parametrize(
    ("setting", "exit_or_found"),
    [
        ("evaluation.env_kwargs.continuous=true", "other observations or actions than it is trained in"),
        ("env.wrappers=[{id: TimeAwareObservation, training_only: true}]", "other observations or actions"),
        ("evaluation.env_kwargs.nonsense=1", None),
    ],
)
def test_the_form_that_it_is_measured_in_is_made_too(setting, exit_or_found):
    config = default_config("LunarLander-v3", [setting])
    if exit_or_found is None:
        with pytest.raises(UsageError, match=r"env.kwargs with evaluation.env_kwargs: LunarLander-v3 does not take"):
            check(config, STEPS)
    else:
        (finding,) = [found for found in check(config, Budget(env_steps=200)).findings if found.level == "error"]
        assert exit_or_found in finding.message


def test_nor_has_its_vectorised_form():
    report = check(default_config("Healthy-v0", VECTOR), STEPS)
    assert report.findings == []
    assert set(report.env_steps_per_second) == {"one_process", "with_workers", "vectorised"}


def test_every_question_has_faults():
    assert {fault.question for fault in FAULTS.values()} == set(QUESTIONS) - {prints}


def in_global_numbers(self):
    return np.full(3, np.random.random(), np.float32)


def test_one_fault_does_not_hide_another():
    """One that fails in its third step is asked all that it can still answer."""

    class Several(Healthy):
        metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}
        frame = raising("dry")
        end = raising("stuck")
        obs = in_global_numbers

        def act(self, action):
            if self.steps == 3:
                raise ValueError("no fuel")

    gym.register("faulty/Several-v0", Several)
    found = check(default_config("faulty/Several-v0"), STEPS, lambda: "hello\n").findings
    assert [one.level for one in found] == ["error", *["warning"] * 4, *["hint"] * (len(found) - 5)]
    for words in ("no fuel", "stuck", "dry", "another object", "worker processes cannot be given", "hello"):
        assert sum(bool(re.search(words, one.message)) for one in found) == 1, (words, found)
    assert not [one for one in found if "faulty/" in one.message]


@pytest.mark.parametrize(("name", "checks"), [("cannot be made", ["made"]), ("hangs", ["spaces", "plays"])])
def test_what_can_be_tried_no_more_is_not(name, checks):
    budget = replace(STEPS, patience=0.2)
    found = check(default_config(FAULTS[name].env_id), budget, lambda: "hello\n").findings
    assert [one.check for one in found] == [*checks, "prints"]


def test_checkers_that_know_nothing_of_masks_say_nothing_of_what_is_forbidden():
    gated = Fault(gymnasium.follows, "", "", (), {}, "Gated-v0")
    assert ask(gated).findings == []


@pytest.mark.parametrize("name", ["no seed", "old step", "another shape", "infinite"])
def test_gymnasium_does_not_say_again_what_playing_has_said(name):
    fault = FAULTS[name]
    assert [one.check for one in ask(replace(fault, question=gymnasium.follows)).findings] == ["plays"]


def test_what_fails_beside_others_alone_is_told():
    """Unless playing has failed: then as much is compared as there is."""
    gym.register("faulty/Crowded-v0", type("Crowded", (Healthy,), {"act": raising("too many")}))
    trial = Trial(default_config("faulty/Crowded-v0"), STEPS)
    with trial.opened() as envs:
        with pytest.raises(PpocliError, match="too many"):
            trace(trial, envs, 0)
        trial.failed = True
        assert len(trace(trial, envs, 0)) == 1


def test_what_is_no_environment_is_wrong_usage():
    with pytest.raises(UsageError, match="'Nothing-v0' is not an environment"):
        check(default_config("Nothing-v0"), STEPS)
    with pytest.raises(UsageError, match="does not take"):
        check(default_config("Healthy-v0", ["env.kwargs.speed=3"]), STEPS)
    with pytest.raises(UsageError, match="may be a path"):
        check(Config.model_validate({"env": {"id": "CartPole-v1", "kwargs": {"file": "a/b"}}}), STEPS)


@pytest.mark.parametrize(("lines", "level"), [(0, None), (3, "hint"), (300, "warning")])
def test_what_is_printed_costs_time_where_it_is_much(lines, level):
    trial = Trial(default_config("Healthy-v0"), printed=lambda: "made\n" * lines)
    assert [found.level for found in prints(trial)] == ([level] if level else [])


def test_a_close_that_hangs_is_waited_for_once(monkeypatch):
    waited = []
    monkeypatch.setattr(backend, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr("ppocli.envs.checks.trial.CLOSE_SECONDS", 0.05)
    gym.register("faulty/Hanging-v0", type("Hanging", (Healthy,), {"end": lambda self: waited.append(OVER.wait())}))
    trial = Trial(default_config("faulty/Hanging-v0"), STEPS)
    with pytest.warns(match=r"close\(\) has not ended after 0.05 s"), trial.opened():
        pass
    with trial.opened(), trial.bare():
        pass
    assert not trial.closes


def test_a_part_ends_with_its_env_steps_or_its_seconds():
    assert list(Budget(seconds=1.0, env_steps=100, clock=lambda: 0.0).steps(0.05)) == [0, 1, 2, 3, 4]
    assert list(Budget(seconds=1.0, env_steps=100, clock=itertools.count(0, 0.25).__next__).steps()) == [0, 1, 2, 3]
    assert list(Budget(seconds=1.0, env_steps=100, clock=LONG_AGO).steps()) == [0]


def test_bounds_are_flat_as_observations_are():
    space = Dict(
        a=Box(np.array([[0, -np.inf]], "f"), np.array([[1, 5]], "f")),
        b=Tuple([Discrete(2, start=7), MultiBinary(1), MultiDiscrete([2, 1])]),
    )
    low, high, is_number = bounds(space)
    assert low.tolist() == [0, -np.inf, 0, 0, 0, 0, 0, 0]
    assert high.tolist() == [1, 5, 1, 1, 1, 1, 1, 1]
    assert is_number.tolist() == [True, True, False, False, True, False, False, False]


_SLOWLY = pytest.param("BipedalWalker-v3", marks=pytest.mark.slow)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Taxi-v4", _SLOWLY, "Echo-v0"])
def test_tasks_of_every_kind_have_no_error(env_id):
    """Of CartPole all are stepped at once, Taxi has masks, the walker is made anew for each episode."""
    settings = ["env.kwargs.kind=box"] if env_id == "Echo-v0" else []
    report = check(default_config(env_id, settings), Budget(seconds=60.0, env_steps=500))
    assert report.is_fit
    assert all(rate > 0 for rate in report.env_steps_per_second.values())
    assert ("with_workers" in report.env_steps_per_second) == (env_id != "CartPole-v1")


def gymnasiums_own():
    known = {env_id: str(spec.entry_point) for env_id, spec in gym.registry.items()}
    # Those that tests have registered to be stepped together are not its own.
    return [one for one in known if known[one].startswith("gymnasium.envs.") and not one.startswith("Together")]


@pytest.mark.slow
@pytest.mark.parametrize("env_id", gymnasiums_own())
def test_gymnasiums_own_have_no_error(env_id):
    """In a process each: where there is no OpenGL, MuJoCo draws nothing, and the second time aborts."""
    command = [sys.executable, "-m", "ppocli", "check-env", env_id, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    errors = [one["message"] for one in strict_json(done.stdout)["findings"] if one["level"] == "error"]
    if any(re.search("No module named|not installed|pip install|only supported", message) for message in errors):
        pytest.skip(errors[0])
    assert (done.returncode, errors) == (0, [])
