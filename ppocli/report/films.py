"""Episodes of a report to watch: the best, the median and the worst of the evaluation."""

import base64
import io
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ppocli.envs.episodes import Episode
from ppocli.envs.make import drawn_envs
from ppocli.errors import PpocliError
from ppocli.evaluation.agents import load_agent
from ppocli.evaluation.play import greedy
from ppocli.pictures.films import SMALL_WIDTH, record
from ppocli.pictures.learning import stages
from ppocli.records import checkpoint
from ppocli.records.checkpoint import Checkpoint
from ppocli.report.data import EnvironmentData, RunData
from ppocli.seeds import Purpose, evaluation_seeds
from ppocli.views import text


@dataclass(frozen=True)
class Video:
    """An episode to watch; the film, and the picture that stands there before, are data: URLs."""

    heading: str
    caption: str
    film: str
    picture: str


def videos(environment: EnvironmentData) -> tuple[list[Video], str]:
    """Return the best, the median and the worst evaluated episode, played again; or none, and why there are none."""
    episodes = sorted(
        (episode_return, number, index)
        for number, run in enumerate(environment.runs)
        for index, episode_return in enumerate(run.returns)
    )
    if not episodes:
        return [], "No agent has been evaluated, so there is no episode to show."
    places = {0: "worst", (len(episodes) - 1) // 2: "median", len(episodes) - 1: "best"}
    chosen = [(*episodes[place], word) for place, word in sorted(places.items(), reverse=True)]
    try:
        return [_video(environment.runs[number], index, word) for _, number, index, word in chosen], ""
    except (PpocliError, OSError) as error:  # such as a folder for temporary files that is full
        return [], f"There is no video: {text.without_folders(str(error))}"


def learning(environment: EnvironmentData) -> tuple[list[Video], str]:
    """Return an episode by the agents that the first run which has any has kept, and its best; or why there are none.

    Runs of earlier versions have kept none, and nothing is said.
    """
    run = next((run for run in environment.runs if run.run.snapshots), None)
    if run is None:
        return [], ""
    seed = evaluation_seeds(0, Purpose.EVALUATION, 1)[0]
    found = []
    try:
        for stage in stages(run.run):
            episode, film, picture = _filmed(stage.saved, seed)
            found.append(Video(stage.name, _came_to(run, episode.episode_return, episode), film, picture))
    except (PpocliError, OSError) as error:
        return [], f"There is no film of its learning: {text.without_folders(str(error))}"
    return found, ""


def _video(run: RunData, index: int, word: str) -> Video:
    assert run.evaluation is not None
    seed, recorded = run.evaluation.episode_seeds[index], run.returns[index]
    episode, film, picture = _filmed(checkpoint.load(run.run.chosen_checkpoint()), seed)
    caption = f"{_came_to(run, recorded, episode)}, episode seed {seed}"
    if episode.episode_return != recorded:  # an environment that depends on more than its seed
        caption += f" (played again, it returned {text.number(episode.episode_return)})"
    return Video(f"{word} episode", caption, film, picture)


def _came_to(run: RunData, episode_return: float, episode: Episode) -> str:
    return f"return {text.number(episode_return)}, {text.count(episode.episode_length)} env steps; {run.label}"


def _filmed(saved: Checkpoint, seed: int) -> tuple[Episode, str, str]:
    """Let an agent play an episode; return it, its film, and the picture of how it ended, as data: URLs."""
    with tempfile.TemporaryDirectory() as folder, closing(drawn_envs(saved.config.evaluated_in, "rgb_array")) as envs:
        output = Path(folder) / "episode.mp4"
        (episode,), frame = record(envs, greedy(load_agent(saved, envs)), [seed], output, small=True)
        film, picture, content = output.read_bytes(), Image.fromarray(frame), io.BytesIO()
    picture.thumbnail((SMALL_WIDTH, SMALL_WIDTH))
    picture.save(content, "JPEG", quality=80)
    return episode, _data_url("video/mp4", film), _data_url("image/jpeg", content.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
