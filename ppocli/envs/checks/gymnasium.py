"""What Gymnasium's own checkers say, as findings: what of it costs something, and what is said better elsewhere."""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import extract_tb
from typing import Any

import gymnasium as gym
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.passive_env_checker import env_render_passive_checker
from gymnasium.wrappers import PassiveEnvChecker

from ppocli.envs.checks.trial import Finding, Level, Trial, trace
from ppocli.errors import PpocliError
from ppocli.guests import FAILURES, told

_OTHERS = "ppocli takes it so, others may not"
_FILMS = "only films need it"
_KNOWN: list[tuple[str, Level, str, str]] = [
    ("render_fps|render fps", "hint", "frames", "put render_fps into its metadata; films have 30 a second without"),
    ("render.modes", "hint", "frames", 'metadata = {"render_modes": ["rgb_array"], "render_fps": 30}'),
    ("RGB-array", "hint", "frames", f"draw an array (height, width, 3) of uint8; {_OTHERS}"),
    ("observations returned.*share", "hint", "reused", "show a copy; ppocli makes one, others may not"),
    ("infos returned.*share", "hint", "reused", "give a new dict each time; others may keep what they are given"),
    (
        "super..\\.reset|random number generators? (to|are)",
        "hint",
        "seed",
        "begin reset() with super().reset(seed=seed)",
    ),
    ("default seed", "hint", "seed", "let seed be None by default, or all episodes are the same"),
    ("dtype|expecting (a )?(numpy|tuple)|np.int64|must be a float|a boolean", "hint", "types", _OTHERS),
    ("low value is greater", "warning", "spaces", "exchange low and high"),
]
_NOISE = re.compile(
    "observation space|infinity|symmetric and normalized|Casting"  # every observation is seen, every action scaled
    "|old step API|tuple|four or five|NaN|inf value|can be passed|does not provide|inherit|specify"  # playing fails
    "|eterministic|similar|properly been updated|truncates after 1 step|`seed` function"  # episodes are compared
)


def follows(trial: Trial) -> Iterator[Finding]:
    """Does it keep to Gymnasium's interface, as Gymnasium's own checkers see it?"""
    with trial.bare() as env:
        said = _said(lambda: check_env(env.unwrapped, skip_render_check=True, skip_close_check=True))
    with trial.bare() as env:
        said |= _said(lambda: _watch(PassiveEnvChecker(env.unwrapped), trial.seed))
    yield from _findings(trial, said)


def _watch(env: gym.Env[Any, Any], seed: int) -> None:
    env.reset(seed=seed)
    for _ in range(2):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return


def drawn(trial: Trial) -> Iterator[Finding]:
    """Can it be drawn, for films and reports?"""
    if trial.played is None or not trial.played.rewards:  # no episode has begun
        return
    with trial.bare() as env:
        modes = env.metadata.get("render_modes", ["rgb_array"])
    if "rgb_array" not in modes:
        yield Finding("hint", "frames", "it has no render mode rgb_array", _FILMS)
        return
    sizes = []
    try:
        with trial.opened(render_mode="rgb_array") as envs:
            for share in (0.0, 0.002):
                trace(trial, envs, trial.seed, share)
                sizes.append(envs.render().shape[:2])
    except PpocliError as error:
        message = str(error).removeprefix(f"{trial.config.env.id}: ")
        message = message if "cannot be drawn" in message else f"it cannot be drawn: {message}"
        yield Finding("warning", "frames", message, _FILMS)
        return
    if sizes[0] != sizes[1]:
        yield Finding("warning", "frames", "its frames change their size", "films need one size")
    with trial.bare("rgb_array") as env:
        env.reset(seed=trial.seed)
        said = _said(lambda: env_render_passive_checker(env.unwrapped))
    yield from _findings(trial, said)


def _said(ask: Callable[[], object]) -> dict[str, BaseException | None]:
    """Return what a checker says, and with what error where it has raised it."""
    said: dict[str, BaseException | None] = {}
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        try:
            ask()
        except FAILURES as error:
            said[str(error)] = error
    texts = (re.search(r"WARN: (.*?)(\x1b\[0m)?$", str(one.message), re.DOTALL) for one in given)
    return {text[1]: None for text in texts if text} | said


def _findings(trial: Trial, said: dict[str, BaseException | None]) -> Iterator[Finding]:
    found: dict[Any, Finding] = {}
    for text, error in said.items():
        known = next((row for row in _KNOWN if re.search(row[0], text)), None)
        if trial.failed and (error if known is None else known[2] == "types"):
            continue  # playing has said so, and then nothing is taken
        if error is not None and not _is_gymnasiums(error):
            if not (trial.played and trial.played.forbids):  # checkers know nothing of masks
                message = f"Gymnasium's checker came upon {told(error)[0]}"
                found[text] = Finding("hint", "gymnasium", message, f"it asks more than training does; {_OTHERS}")
        elif known is not None:
            _, level, check, advice = known
            found.setdefault(known, Finding(level, check, text.partition(". ")[0], advice))
        elif not _NOISE.search(text):
            level = "hint" if error is None else "warning"
            found[text] = Finding(level, "gymnasium", text, "see gymnasium.utils.env_checker")
    yield from found.values()


def _is_gymnasiums(error: BaseException) -> bool:
    """Whether a checker has raised it, rather than what it checks."""
    return Path(gym.__file__).parent in Path(extract_tb(error.__traceback__)[-1].filename).parents
