"""Environments as users write them, each with one oddity, and what is to come of it: a table, `CASES`.

It stands alone, like a module of a user's own. `python tests/odd_environments.py [NAME ...]` tries them all, or those.
"""

import decimal
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

if __name__ == "__main__":  # up here, so that the program registers none of them a second time
    from odd_commands import main

    main()

HEALTHY = "ODD_HEALTHY" in os.environ
"""Whether each of them is to behave for once: to get a run of one that is refused in training, too."""
COLOUR = (200, 100, 50)

# What the error line must match where an environment is refused. It always names the environment (ENV stands for its
# id); where an episode was under way also the episode's seed; and where a step was being taken also which.
WORKS = "works"
MADE = r"(?=.*ENV)"
RESET = MADE + r"(?=.*seed \d+)"
STEP = RESET + r"(?=.*step \d+)"
FRAME = MADE + r"(?!.*MuJoCo)(?=.*(?i:rgb|uint8))"
OTHERWISE = r"(?=.*seed \d+)(?=.*allow-inexact)"  # on resume, an episode has gone another way than before
Expectation = str | tuple[str, ...]  # WORKS, or a regex of the error line, or any of several


@dataclass(frozen=True)
class Case:
    """An environment, and what is to come of it."""

    cls: type
    train: Expectation = WORKS
    evaluate: Expectation = ""  # by default as in training, and so the other two
    render: Expectation = ""
    resume: Expectation = ""
    in_worker: str = ""  # where it is stepped in a worker process, if that is another thing
    place: bool = False  # whether the user is shown the line of the environment that raised
    shows: str = ""  # regex of what stderr shows where it is refused
    warns: str = ""  # regex of what stderr shows when it is trained
    auto_warns: str = ""  # the same with env.workers=auto, where there are cores for a worker
    reports: str = ""  # regex of the JSON of an evaluation
    pays: float | None = 1.0  # for each step
    colour: tuple[int, int, int] = COLOUR  # of its film
    film: str = "mp4"  # or gif
    report: Expectation = ""  # of a fifth command, which only those are tried with that are drawn oddly
    check: str = ""  # "LEVEL: regex" of the gravest that check-env finds; by default nothing, or what training refuses
    config: tuple[str, ...] = ()  # what the user sets
    modes: tuple[str, ...] = ("0", "1")  # values of env.workers
    module: str = ""  # what stands in odd_module.py, which is imported, too
    leaves_processes: bool = False  # that only it knows of

    @property
    def name(self) -> str:
        return self.cls.__name__

    @property
    def env_id(self) -> str:
        return f"odd/{self.name}-v0"

    @property
    def finding(self) -> tuple[str, str]:
        """The level of the gravest that is found, and a regex of how; empty where nothing is."""
        refused = self.in_worker or (self.train if isinstance(self.train, str) else self.train[0])
        level, _, says = (self.check or ("" if refused == WORKS else f"error: {refused}")).partition(": ")
        return level, says

    def expected(self, command: str, mode: str) -> tuple[str, ...]:
        """Return how a command may end."""
        found = getattr(self, command) or self.train
        found = (found,) if isinstance(found, str) else found
        if not self.in_worker or mode != "1" or command == "render":
            return found
        return (self.in_worker, *found) if command == "evaluate" else (self.in_worker,)  # it may do without workers


SUPPORTED = Box | Dict | Discrete | MultiBinary | MultiDiscrete | Tuple
CASES: dict[str, Case] = {}


class Line(gym.Env):
    """The environment that is odd in no way: every other is this one but for the method that it changes.

    An observation tells the steps since the start, each pays 1, and after 6 to 9 of them, as the seed has it, it ends.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space: Any = Box(0, 100, (2,))
    action_space: Any = Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.set_up()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps, self.length = seed, 0, 6 + int(self.np_random.integers(4))
        self.begin()
        return self.obs(), self.info()

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.steps += 1
        self.act(action)
        return self.obs(), self.reward(), *self.flags(), self.info()

    def render(self):
        return self.frame()

    def close(self):
        self.end()

    def set_up(self):
        pass

    def begin(self):
        pass

    def act(self, action):
        pass

    def obs(self):
        return element(self.observation_space, self.steps)

    def reward(self):
        return 1.0

    def flags(self):
        return self.ends(), False

    def ends(self):
        return self.steps == self.length

    def info(self):
        return {}

    def frame(self):
        return np.full((64, 64, 3), COLOUR, np.uint8)

    def end(self):
        pass


def element(space: Any, number: float) -> Any:
    """Return an element of a space for a number."""
    match space:
        case Dict():
            return {name: element(part, number) for name, part in space.spaces.items()}
        case Tuple():
            return tuple(element(part, number) for part in space.spaces)
        case Discrete():
            return space.start + int(number) % space.n
        case MultiDiscrete():
            return (space.start + int(number) % space.nvec).astype(space.dtype)
        case MultiBinary():
            return np.full(space.shape, int(number) % 2, space.dtype)
    return np.full(space.shape, number, space.dtype)


def expect(train: Expectation = WORKS, *, entry: Any = None, register: Any = None, **more: Any) -> Callable[..., Any]:
    """Put the decorated environment into the table, with what is expected, and make it known to Gymnasium."""

    def add(cls: type) -> type:
        CASES[cls.__name__] = case = Case(cls, train, **more)
        if HEALTHY:
            spaces = {name: getattr(cls, name) for name in ("observation_space", "action_space")}
            cls = type(cls.__name__, (Line,), {name: s for name, s in spaces.items() if isinstance(s, SUPPORTED)})
        gym.register(case.env_id, cls if HEALTHY else entry or cls, **(register or {}))
        return cls

    return add


def odd(name: str, oddity: str, train: Expectation = WORKS, base: type = Line, **more: Any) -> None:
    """Make an environment of a few expressions, which take the place of the methods of `base`."""
    known = {field.name for field in fields(Case)} | {"entry", "register"}
    methods = {key: more.pop(key) for key in list(more) if key not in known}
    made = type(name, (base,), {"__doc__": oddity, "__module__": __name__, **methods})
    globals()[name] = expect(train, **more)(made)


def in_worker() -> bool:
    return multiprocessing.parent_process() is not None


# --- how it is made ---------------------------------------------------------------------------------------------------

UNPICKLED = r"(?=.*(lambda|LocalClass))(?=.*env\.workers=0)"
ALONE = {
    "in_worker": UNPICKLED,
    "auto_warns": "warning: .*(lambda|LocalClass)",
    "modes": ("0", "1", "auto"),
    "check": r"warning: .*(lambda|LocalClass).*env\.workers=0",
}


@expect(render=MADE + "(?=.*render_mode)", report=WORKS, check="warning: .*cannot be drawn.*render_mode")
class NoRenderMode(Line):
    """`__init__` takes no render_mode: nothing but rendering needs one."""

    def __init__(self):
        pass


@expect(entry=lambda **kwargs: LambdaEntry(**kwargs), **ALONE)
class LambdaEntry(Line):
    """Registered by a lambda, which no other process can be given: `auto` does without one, and says so."""


def _local_class():
    class LocalClass(Line):
        """A class inside a function, which no other process can be given."""

    return LocalClass


LocalClass = expect(**ALONE)(_local_class())


@expect(entry=f"{__name__}:EntryAsText", register={"kwargs": {"size": 3}})
class EntryAsText(Line):
    """Registered as `module:Class` with arguments."""

    def __init__(self, render_mode=None, *, size):
        super().__init__(render_mode)
        assert size == 3


def _wrapped(**kwargs):
    return gym.wrappers.FlattenObservation(gym.wrappers.TimeLimit(Wrapped(**kwargs), 4))


@expect(entry=_wrapped, reports='"length_mean": 4.0')
class Wrapped(Line):
    """What is registered is a function that wraps it."""

    observation_space = Box(0, 100, (2, 2))


@expect(config=("env.kwargs.layout=[1,2]", "env.kwargs.wall=null", "env.kwargs.options={a: 1}"))
class RichKwargs(Line):
    """Its arguments are a list, nothing and a mapping."""

    def __init__(self, render_mode=None, layout=(), wall="", options=None):
        super().__init__(render_mode)
        assert (layout, wall, options) == ([1, 2], None, {"a": 1})


odd("Threshold", "It says when it is solved.", register={"reward_threshold": 1.0}, reports='"solved_fraction": 1.0')
odd("NoMetadata", "It says nothing of how it is drawn.", metadata={}, check="hint: .*render_modes")
odd(
    "OldMetadata",
    "Its metadata are old Gym's.",
    metadata={"render.modes": ["human"], "video.frames_per_second": 50},
    check="hint: .*render_modes",
)
odd(
    "NoFrameRate",
    "It draws 0 frames a second.",
    metadata={"render_modes": ["rgb_array"], "render_fps": 0},
    check="hint: .*render_fps",
)
odd("Bär走", "Neither its name nor the folder that it is trained in is of ASCII.")
odd("NoSpaces", "It has forgotten its observation space.", MADE + "(?=.*observation)", observation_space=None)
odd("UnsupportedSpace", "It speaks.", MADE + "(?=.*supported)", observation_space=Text(5))
odd(
    "ForeignSpace",
    "Its action space is another library's.",
    MADE + "(?=.*action)",
    action_space=type("Discrete", (), {"n": 2, "contains": lambda self, action: True})(),
)
odd(
    "SpacesAsProperties",
    "Its spaces are made anew whenever somebody asks.",
    observation_space=property(lambda self: Box(0, 100, (2,))),
    action_space=property(lambda self: Box(-1, 1, (2,), np.float64)),
)


@expect(MADE + r"(?=.*gymnasium\.Env)")
class NoEnv:
    """It inherits from nothing."""

    observation_space, action_space = Line.observation_space, Line.action_space

    def __init__(self, render_mode=None):
        pass


@expect(MADE + r"(?!.*env\.backend)(?=.*(space|shape))", render=WORKS)
class SpacesThatDiffer(Line):
    """Each copy has more to see than the one before."""

    copies: ClassVar = [1]

    def set_up(self):
        self.copies[0] += 1
        self.observation_space = Box(0, 100, (self.copies[0],))


# --- what it shows ----------------------------------------------------------------------------------------------------

odd(
    "ListObs",
    "Its observations are lists of whole numbers.",
    obs=lambda self: [self.steps, 1],
    check="hint: .*numpy array.*list",
)
odd("Float64Obs", "Its observations have twice the digits.", observation_space=Box(-np.inf, np.inf, (2,), np.float64))
odd("ColumnObs", "Its observations are columns.", observation_space=Box(0, 100, (3, 1)))
odd("ScalarBox", "Its observations are numbers without any dimension.", observation_space=Box(0, 100, ()))
odd(
    "HugeObs",
    "Its observations are far from 1.",
    obs=lambda self: np.full(2, 1e30, np.float32),
    check=r"warning: .*left its space: 1e\+30",
)
odd("DiscreteObs", "Its observations are a choice that starts at 3.", observation_space=Discrete(4, start=3))
odd(
    "TableObs",
    "Its observations are a table of choices and one of switches.",
    observation_space=Tuple([MultiDiscrete([[2, 3], [4, 5]]), MultiBinary((2, 2))]),
)
odd(
    "NamedObs",
    "Its observations have names, and parts of parts.",
    observation_space=Dict(at=Box(0, 100, (2,)), mode=Discrete(3), inside=Dict(lamp=MultiBinary(2))),
)
odd(
    "NameMissing",
    "A part of its observation is missing after a step.",
    STEP + "(?=.*mode)",
    observation_space=Dict(at=Box(0, 100, (2,)), mode=Discrete(3)),
    obs=lambda self: element(self.observation_space if not self.steps else Dict(at=Box(0, 100, (2,))), self.steps),
)
odd(
    "PixelObs",
    "Its observations are pictures, which are flattened, and that is said.",
    observation_space=Box(0, 255, (12, 12, 3), np.uint8),
    warns="(?i)warning.*flatten",
    check="warning: .*pictures",
)
odd(
    "NanObs",
    "Its observation is no number after three steps.",
    STEP + "(?=.*observation)(?=.*step 3)",
    resume=(STEP + "(?=.*observation)", OTHERWISE),
    obs=lambda self: np.full(2, np.nan if self.steps == 3 else 0.0, np.float32),
)
for name, oddity, shown in (
    ("TooLarge", "beyond its last", 4),
    ("Negative", "-1, which would be Python's last", -1),
    ("Broken", "half a choice", 0.5),
):
    odd(
        f"DiscreteObs{name}",
        f"Its observation after a step is {oddity}.",
        STEP + f"(?=.*{shown})(?=.*Discrete)",
        observation_space=Discrete(4),
        obs=lambda self, shown=shown: shown if self.steps else 0,
    )
for name, oddity, shown, said in (
    ("NoObs", "None", None, "(?=.*None)"),
    ("NumberForObs", "a mere number, which would fill all places", 0.5, r"(?=.*\(\))(?=.*\(2,\))"),
    ("OneForTwo", "one number, which would fill all places", np.zeros(1), r"(?=.*\(1,\))(?=.*\(2,\))"),
    ("ObjectObs", "an array of anything", np.array([0.0, "far"], object), "(?=.*(number|object|dtype))"),
):
    odd(
        name,
        f"Its observation after a step is {oddity}.",
        STEP + said,
        obs=lambda self, shown=shown: shown if self.steps else np.zeros(2, np.float32),
    )
odd(
    "ThreeForTwo",
    "Its first observation is larger than its space.",
    RESET + r"(?=.*\(3,\))(?=.*\(2,\))",
    obs=lambda self: np.zeros(3, np.float32),
)
odd(
    "ThreeForTwoInWorker",
    "The same after a step, and in a worker alone.",
    in_worker=STEP + r"(?=.*\(3,\))(?=.*\(2,\))",
    obs=lambda self: np.zeros(3 if in_worker() and self.steps else 2, np.float32),
)


@expect(check="hint: .*share an object")
class ReusedObs(Line):
    """All its observations are the same array, which it writes into."""

    def set_up(self):
        self.buffer = np.zeros(2, np.float32)

    def obs(self):
        self.buffer[:] = self.steps
        return self.buffer


# --- how it is reset and stepped --------------------------------------------------------------------------------------

odd(
    "ObsAlone",
    "Old Gym: reset() returns the observation alone.",
    RESET + "(?=.*info)",
    reset=lambda self, *, seed=None, options=None: Line.reset(self, seed=seed)[0],
)
odd(
    "SpaceForObs",
    "reset() returns the space rather than something in it.",
    RESET + "(?=.*info)",
    reset=lambda self, *, seed=None, options=None: self.observation_space,
)
odd("SeedlessReset", "Old Gym: reset() takes no seed.", MADE + "(?=.*reset)(?=.*seed)", reset=lambda self: None)
odd(
    "OptionlessReset",
    "reset() takes no options, which Gymnasium's own wrappers hand on.",
    MADE + "(?=.*reset)(?=.*options)",
    reset=lambda self, *, seed=None: Line.reset(self, seed=seed),
)
odd(
    "FourFromStep",
    "Old Gym: step() returns four values.",
    STEP + "(?=.*terminated)(?=.*truncated)",
    step=lambda self, action: [Line.step(self, action)[index] for index in (0, 1, 2, 4)],
)
odd(
    "NothingFromStep",
    "step() has forgotten its return.",
    STEP + "(?=.*terminated)(?=.*truncated)",
    step=lambda self, action: None,
)
odd(
    "OneStep",
    "Each episode has one step.",
    ends=lambda self: True,
    reports='"length_mean": 1.0',
    check="hint: .*returned 1;",
)
odd("BothFlags", "Its episodes end in both ways at once.", flags=lambda self: (self.ends(),) * 2)
odd(
    "NeverEnds",
    "Its episodes never end, and the config ends them.",
    ends=lambda self: False,
    config=("env.max_episode_steps=10",),
    reports='"length_mean": 10.0',
)
odd(
    "NeverEndsUnlimited",
    "Its episodes never end, and nobody has thought of it: after 10,000 steps they do, and that is said.",
    ends=lambda self: False,
    warns=r"env\.max_episode_steps",
    check=r"warning: .*no episode has ended; set env\.max_episode_steps",
    reports='"length_mean": 10000.0',
)
odd(
    "OtherLimit",
    "It has a time limit of its own, and the config another.",
    config=("env.max_episode_steps=4",),
    register={"max_episode_steps": 2},
    reports='"length_mean": 4.0',
)
odd(
    "GlobalRandom",
    "Its random numbers are NumPy's global ones, which no seed of an episode brings back.",
    obs=lambda self: np.random.random(2).astype(np.float32),
    warns="(?i)warning.*(random|seed|replay|reproduc)",
    check=r"warning: .*same seed.*instead of np\.random",
    resume=OTHERWISE,
)
odd(
    "Success",
    "Its info says whether it succeeded.",
    info=lambda self: {"is_success": self.ends()},
    reports='"[a-z_]*success[a-z_]*": 1.0',
)
odd("OddInfo", "Its info can be given to no other process.", info=lambda self: {"lock": threading.Lock()})


@expect(resume=OTHERWISE, check="warning: .*depends on those before it")
class NeverForgets(Line):
    """It tells in each episode how many there were before."""

    episodes = 0

    def begin(self):
        self.episodes += 1

    def obs(self):
        return np.array([self.episodes, self.steps], np.float32)


@expect()
class MindsTheOrder(Line):
    """It takes a step after the end amiss, and a reset that no step has followed."""

    stepped, over = True, False

    def begin(self):
        assert self.stepped, "reset twice"
        self.stepped = self.over = False

    def act(self, action):
        assert not self.over, "stepped after the end"
        self.stepped, self.over = True, self.ends()


# --- the actions it is given ------------------------------------------------------------------------------------------


class Strict(Line):
    """It takes nothing but what `action_space.sample()` gives: that type, that dtype, that shape."""

    def act(self, action):
        sample = self.action_space.sample()
        assert type(action) is type(sample), f"{type(action)} rather than {type(sample)}"
        assert action.dtype == sample.dtype, f"{action.dtype} rather than {sample.dtype}"
        assert action.shape == sample.shape, f"{action.shape} rather than {sample.shape}"


odd("ActionItem", "It calls action.item().", act=lambda self, action: action.item())
for name, oddity, space in (
    ("DiscreteAction", "a choice that starts at -1", Discrete(3, start=-1)),
    ("OnlyAction", "no choice at all", Discrete(1)),
    (
        "Box64Action",
        "float64, and in part without bounds",
        Box(np.array([-1.0, 0.0]), np.array([1, np.inf]), None, "d"),
    ),
    ("BoxIntAction", "whole numbers in a box", Box(0, 10, (2, 2), np.int32)),
    ("MultiBinaryAction", "switches", MultiBinary((2, 2))),
    ("MultiDiscreteAction", "a table of choices", MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [0, -1]])),
):
    odd(name, f"Its actions are {oddity}, and it minds their type.", base=Strict, action_space=space)


@expect(check="warning: .*left its space")
class ActionOverwritten(Line):
    """It clears the action that it was given."""

    action_space = Box(-1, 1, (2,))
    push = 0.0

    def act(self, action):
        self.push = float(action[0])
        action[:] = 9

    def begin(self):
        self.push = 0.0

    def obs(self):
        return np.array([self.push, self.steps], np.float32)


@expect()
class ActionKept(Line):
    """It keeps the action that it was given, and minds what becomes of it."""

    action_space = Box(-1, 1, (2,))

    def begin(self):
        self.kept = self.copy = np.zeros(2, np.float32)

    def act(self, action):
        assert (self.kept == self.copy).all(), "somebody has overwritten an action"
        self.kept, self.copy = action, action.copy()


# --- what it pays, and how it ends ------------------------------------------------------------------------------------


def _tensor(number):
    import torch

    return torch.tensor(number, requires_grad=True)


for name, oddity, reward, pays in (
    ("ArrayReward", "an array of one number", np.array([1.5]), 1.5),
    ("PlainArrayReward", "an array without dimensions", np.array(1.5, np.float16), 1.5),
    ("DecimalReward", "a decimal number, as in finance", decimal.Decimal("1.5"), 1.5),
    ("BoolReward", "True", True, 1.0),
):
    odd(
        name,
        f"Its reward is {oddity}.",
        reward=lambda self, reward=reward: reward,
        pays=pays,
        check="hint: .*must be a float",
    )
odd(
    "TensorReward",
    "Its reward is a tensor that has a gradient.",
    reward=lambda self: _tensor(1.5),
    pays=1.5,
    check="hint: .*must be a float",
)
for name, oddity, reward, said in (
    ("TextReward", "text", "1", "(?=.*'1')"),
    ("NoReward", "None", None, "(?=.*None)(?!.*(?i:nan))"),
    ("TwoRewards", "two numbers", np.array([1.0, 2.0]), ""),
    ("NanReward", "no number", np.nan, "(?=.*(?i:nan))"),
    ("InfiniteReward", "infinite", np.inf, "(?=.*(?i:inf))"),
    ("HugeReward", "finite, but no float32", 1e300, r"(?=.*1e\+?300)(?!.*not a finite)"),
):
    odd(
        name,
        f"Its reward is {oddity}.",
        STEP + "(?=.*reward)(?=.*step 3)" + said,
        resume=(STEP + "(?=.*reward)" + said, *([OTHERWISE] if isinstance(reward, float) else [])),
        reward=lambda self, reward=reward: reward if self.steps == 3 else 1.0,
    )
odd(
    "TextFlag",
    "Its flag is text, which would be true.",
    STEP + "(?=.*terminated)(?=.*'False')",
    flags=lambda self: ("False", False),
)
odd(
    "FlagsOfOtherTypes",
    "Its flags are NumPy's, and 0 and 1.",
    flags=lambda self: (np.bool_(self.ends()), int(self.ends())),
    check="hint: .*`truncated` signal",
)

# --- what it does to the process --------------------------------------------------------------------------------------


def _move(*_):
    os.chdir(os.environ["ODD_ELSEWHERE"])


def _torch(name, *arguments):
    import torch

    getattr(torch, name)(*(getattr(torch, a) if isinstance(a, str) else a for a in arguments))


def _silence():
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


odd("MovesWhenMade", "`__init__` changes the working directory.", set_up=_move)
odd("MovesInReset", "reset() changes the working directory.", begin=_move)
odd("MovesInStep", "step() changes the working directory.", act=_move)
odd(
    "PrintsPastPython",
    "It prints as a library in C does.",
    act=lambda self, action: os.write(1, b"stepped\n"),
    check="warning: .*printed .*'stepped'",
)
odd(
    "PrintsByAnother",
    "A program that it runs prints.",
    begin=lambda self: subprocess.run(["echo", "a"], check=True),
    check="warning: .*printed .*'a'",
)
odd("TorchFloat64", "It makes float64 torch's default.", set_up=lambda self: _torch("set_default_dtype", "float64"))
odd("TorchSwitchedOff", "It switches autograd off.", begin=lambda self: _torch("set_grad_enabled", False))
odd(
    "NumpyRaises",
    "It lets NumPy raise where numbers become too small, and its own are.",
    set_up=lambda self: np.seterr(all="raise"),
    obs=lambda self: np.full(2, 1e-30, np.float32),
    config=("network.normalize_obs=true", "rollout.normalize_rewards=true"),
    check="warning: .*never changed",
)
odd("WarningsRaise", "It makes errors of warnings.", set_up=lambda self: warnings.simplefilter("error"))
odd("Silences", "It silences all that is printed.", set_up=lambda self: _silence())
odd(
    "OddObject",
    "It is as long as nothing, equal to nothing, and can neither be hashed nor pickled, yet has all attributes.",
    __len__=lambda self: 0,
    __eq__=lambda self, other: np.array([True, False]),
    __hash__=None,
    __reduce__=lambda self: 1 / 0,
    __getattr__=lambda self, name: None,
)


@expect(check="warning: .*printed .*'made'")
class Prints(Line):
    """It prints whatever it does."""

    def set_up(self):
        print("made")

    def begin(self):
        print("begun")

    def act(self, action):
        print("stepped", flush=True)

    def frame(self):
        print("drawn")
        return super().frame()

    def end(self):
        print("closed")


@expect(check="warning: .*printed .*'still here'")
class PrintsInThread(Line):
    """A thread of its own prints all the while."""

    def set_up(self):
        self.over = threading.Event()
        threading.Thread(target=self.chat, daemon=True).start()

    def chat(self):
        while not self.over.wait(1e-3):
            print("still here", flush=True)

    def end(self):
        self.over.set()


@expect()
class TorchLearns(Line):
    """It trains a model of the world of its own in each step."""

    def act(self, action):
        import torch

        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()


@expect()
class OwnHandlers(Line):
    """It has signals of its own."""

    def set_up(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, lambda *_: None)

    def act(self, action):
        signal.alarm(60)
        signal.alarm(0)


# --- how it is drawn --------------------------------------------------------------------------------------------------

UNDRAWN = "warning: .*cannot be drawn"
for name, oddity, frame, drawn, check in (
    ("NoFrame", "are None", lambda env: None, FRAME + "(?=.*None)", UNDRAWN),
    ("TextFrame", "are text", lambda env: "x...\n", FRAME, UNDRAWN),
    ("FloatFrame", "have colours from 0 to 1", lambda env: Line.frame(env) / 255, WORKS, "hint: .*got float64"),
    (
        "TransparentFrame",
        "have an alpha channel",
        lambda env: np.full((64, 64, 4), (*COLOUR, 255), np.uint8),
        WORKS,
        "hint: .*last axis.*got 4",
    ),
    ("OddFrame", "have odd sizes", lambda env: np.full((63, 61, 3), COLOUR, np.uint8), WORKS, ""),
    (
        "ListFrame",
        "are lists of lists of lists",
        lambda env: Line.frame(env).tolist(),
        (WORKS, FRAME),
        "hint: .*numpy array.*list",
    ),
    (
        "TensorFrame",
        "are tensors",
        lambda env: sys.modules["torch"].from_numpy(Line.frame(env)),
        (WORKS, FRAME),
        UNDRAWN,  # as there is no torch
    ),
    (
        "GrowingFrame",
        "grow",
        lambda env: Line.frame(env)[: 32 + 2 * env.steps],
        (WORKS, FRAME, MADE + "(?=.*size)"),
        "warning: .*change their size",
    ),
):
    odd(name, f"Its frames {oddity}.", render=drawn, frame=frame, report=WORKS, modes=("0",), check=check)
    if drawn == WORKS:
        odd(f"{name}Gif", f"Its frames {oddity}, and become a GIF.", frame=frame, film="gif", modes=("0",), check=check)
odd(
    "GreyFrame",
    "Its frames know no colours.",
    render=(WORKS, FRAME),
    frame=lambda self: np.full((64, 64), 128, np.uint8),
    colour=(128, 128, 128),
    check="hint: .*three axes",
    report=WORKS,
    modes=("0",),
)


@expect(render=MADE + "(?!.*MuJoCo)(?=.*render)", report=WORKS, check="warning: .*no method render")
class NoRender(Line):
    """It cannot be drawn."""

    render = gym.Env.render


@expect(render=MADE + "(?=.*rgb_array)", report=WORKS, place=True, check="hint: .*no render mode rgb_array")
class WindowOnly(Line):
    """It minds its render modes, and has but a window."""

    metadata: ClassVar = {"render_modes": ["human"]}

    def __init__(self, render_mode=None):
        assert render_mode is None or render_mode in self.metadata["render_modes"], f"{render_mode} is not for me"


@expect(
    render=MADE + "(?!.*MuJoCo)(?=.*the brush is dry)",
    report=WORKS,
    place=True,
    check="warning: .*the brush is dry",
)
class RenderRaises(Line):
    """render() raises."""

    def frame(self):
        raise ValueError("the brush is dry")


# --- how it fails -----------------------------------------------------------------------------------------------------


@expect(STEP + r"(?=.*step 3)(?=.*motor of (\d+) is on fire)(?=.*seed \1\b)", place=True)
class StepRaises(Line):
    """step() raises: the line says where, and how to come there again."""

    def act(self, action):
        if self.steps == 3:
            raise ValueError(f"the motor of {self.seed} is on fire")


@expect(RESET + "(?=.*motor)", place=True)
class ResetRaises(Line):
    """reset() raises, and its message has two lines."""

    def begin(self):
        raise RuntimeError("the motor\nis on fire")


@expect(MADE + "(?=.*motor)", place=True)
class InitRaises(Line):
    """`__init__` raises."""

    def set_up(self):
        raise TypeError("the motor is on fire")


@expect(STEP + "(?=.*AssertionError)", place=True)
class AssertionFails(Line):
    """An assertion that says nothing fails."""

    def act(self, action):
        assert self.steps == 0


@expect(STEP + "(?=.*StopIteration)", place=True)
class IterationStops(Line):
    """It has come to the end of its data, as next() tells it."""

    def act(self, action):
        next(iter(()))


class SimulatorError(Exception):
    """An exception that comes out of no pickle."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


@expect(in_worker=STEP + "(?=.*SimulatorError)(?=.*7: no fuel)", place=True)
class RaisesInWorker(Line):
    """It raises in a worker alone, and what cannot be sent to another process."""

    def act(self, action):
        if in_worker():
            raise SimulatorError(7, "no fuel")


@expect(MADE + "(?=.*Connection refused)", place=True)
class RefusedWhenMade(Line):
    """Its simulator is not there when it is made."""

    def set_up(self):
        socket.create_connection(("127.0.0.1", 1))


@expect(STEP + "(?=.*Connection refused)", place=True)
class RefusedInStep(Line):
    """Its simulator is there no more."""

    def act(self, action):
        socket.create_connection(("127.0.0.1", 1))


@expect(RESET + r"(?=.*map\.txt)", place=True)
class FileMissing(Line):
    """A file of its own is missing."""

    def begin(self):
        Path("map.txt").read_text()


@expect(MADE + "(?=.*bye)", place=True)
class ExitsWhenMade(Line):
    """`__init__` exits."""

    def set_up(self):
        sys.exit("bye")


@expect(RESET + "(?=.*(?i:exit))", place=True)
class ExitsInReset(Line):
    """reset() exits, as if all were well."""

    def begin(self):
        sys.exit()


@expect(STEP + "(?=.*bye)", place=True)
class ExitsInStep(Line):
    """step() exits."""

    def act(self, action):
        sys.exit("bye")


for name, oddity, end, said in (
    ("WorkerAborts", "aborts, which is nothing to do with memory", os.abort, "(?=.*SIGABRT)(?!.*memory)"),
    ("WorkerCrashes", "crashes", lambda: os.kill(os.getpid(), signal.SIGSEGV), "(?=.*SIGSEGV)(?!.*memory)"),
    ("WorkerKilled", "is killed", lambda: os.kill(os.getpid(), signal.SIGKILL), "(?=.*SIGKILL)"),
    ("WorkerLeaves", "exits past Python", lambda: os._exit(3), "(?=.*exit code 3)"),
):
    odd(name, f"Its worker {oddity}.", in_worker=said, act=lambda self, action, end=end: end() if in_worker() else None)


# --- what it holds, and how it lets go --------------------------------------------------------------------------------


@expect(
    MADE + r"(?=.*Address already in use)(?=.*of which a run makes \d+ to train in)",
    evaluate=(WORKS, MADE + "(?=.*Address already in use)"),
    render=WORKS,
    place=True,
)
class OnlyOne(Line):
    """It binds a port, so that there can be but one: the error says that there are to be several."""

    def set_up(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", int(os.environ["ODD_PORT"])))

    def end(self):
        self.socket.close()


@expect(warns="(?i)close", check="warning: .*door is stuck.*when it was closed")
class CloseRaises(Line):
    """close() raises: results are results, and a line says so."""

    def end(self):
        raise RuntimeError("the door is stuck")


odd(
    "CloseHangs",
    "close() never ends, but the command does.",
    end=lambda self: time.sleep(1e6),
    check="warning: .*has not ended",
)


@expect()
class ClosesOnce(Line):
    """It may be closed but once."""

    closed = False

    def end(self):
        assert not self.closed, "closed twice"
        self.closed = True


@expect(check="warning: .*leaves the thread")
class ThreadLeft(Line):
    """A thread of its own never ends."""

    def set_up(self):
        threading.Thread(target=time.sleep, args=(1e6,)).start()


@expect()
class RunsProgram(Line):
    """It runs a program, and ends it when it is closed: none of them stays."""

    def set_up(self):
        self.child = subprocess.Popen(["sleep", "1000"])

    def end(self):
        self.child.terminate()
        self.child.wait()


CHILDREN = (WORKS, r"(?=.*child)(?=.*env\.workers=0)")  # a worker may be one that cannot have any


@expect(CHILDREN)
class ForksChild(Line):
    """It starts a process by forking, and ends it when it is closed."""

    def set_up(self):
        self.child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1e6,))
        self.child.start()

    def end(self):
        self.child.terminate()
        self.child.join()


def _nothing(self):
    pass


LEFT = {"end": _nothing, "leaves_processes": True, "check": "warning: .*leaves the process"}
odd("ProgramLeft", "It runs a program, and forgets it.", base=RunsProgram, **LEFT)
odd("ChildLeft", "It forks, and forgets it.", CHILDREN, base=ForksChild, **LEFT)

# --- what stands in a module that is imported -------------------------------------------------------------------------

for name, oddity, code, said in (
    ("ImportTypeError", "raises a TypeError", "len(5)", "(?=.*int)"),
    ("ImportValueError", "raises a ValueError", "int('x')", "(?=.*invalid literal)"),
    ("ImportSyntaxError", "is not Python", "def broken(:", ""),
    ("ImportExit", "exits, as if all were well", "sys.exit()", ""),
    ("ImportMissing", "needs another that is not installed", "import no_such_simulator", "(?=.*no_such_simulator)"),
    ("ImportFileMissing", "needs a file that is not there", "open('map.txt')", r"(?=.*map\.txt)"),
):
    odd(
        name,
        f"The module {oddity}.",
        "(?=.*odd_module)" + said,
        module=f"import sys\n\n{code}\n",
        shows=r'odd_module\.py(", line |:)3\b',
        modes=("0",),
    )
odd("ImportPrints", "The module prints.", module="print('hello')\n")
odd(
    "ImportMoves",
    "The module changes the working directory.",
    module="import os\n\nos.chdir(os.environ['ODD_ELSEWHERE'])\n",
)
