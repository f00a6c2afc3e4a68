"""From a policy to a file that holds it, once that is found to act alike."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ppocli import __version__
from ppocli.errors import UsageError
from ppocli.evaluation.policy import TrainedPolicy
from ppocli.files import placing, write_atomically
from ppocli.notebook import Tabled
from ppocli.portable import header, onnx
from ppocli.portable.check import Agreement, compare, recorded
from ppocli.portable.plan import plan_of
from ppocli.records.kept import read_evaluation
from ppocli.records.run import Run

FORMATS = (".onnx", ".h")
OBSERVATIONS = 1000  # that an export is checked on


@dataclass(frozen=True)
class Exported(Tabled):
    """What was written, and how it was checked."""

    output: Path
    bytes: int  # of the model, or of a header's constants
    stack_bytes: int | None  # that a header's function works with
    checked: Agreement | None  # None where there was no C compiler to try it with


def export(
    policy: TrainedPolicy,
    output: Path,
    run: Run | None = None,
    *,
    stochastic: bool = False,
    observations: int = OBSERVATIONS,
) -> Exported:
    """Write a policy as ONNX or C, as the file's name ends, once it acts as the policy on so many observations.

    With `stochastic` a model takes noise to draw its actions by. Raises UsageError for what that form cannot hold,
    PpocliError where it would act otherwise than the policy, and then nothing is written.
    """
    plan, about = plan_of(policy), _about(policy, run)
    if output.suffix.lower() == ".onnx":
        model = onnx.model_of(plan, about, stochastic=stochastic)
        content: bytes = model.SerializeToString()
        checked: Agreement | None = compare(
            policy, onnx.acting(model, plan, policy.observation_space), recorded(policy, observations)
        )
        exported = Exported(output, len(content), None, checked)
    elif stochastic:
        raise UsageError("--stochastic: a C header takes no noise to draw by; --output FILE.onnx does")
    else:
        text = header.header_of(plan, output.stem, [f"{key}: {value}" for key, value in about.items()])
        with tempfile.TemporaryDirectory() as folder:
            act = header.acting(text, plan, output.stem, policy.observation_space, Path(folder))
            checked = None if act is None else compare(policy, act, recorded(policy, observations))
        exported, content = Exported(output, *header.sizes_of(plan), checked), text.encode()
    with placing(output):
        write_atomically(output, content)
    return exported


def _about(policy: TrainedPolicy, run: Run | None) -> dict[str, str]:
    """Return what is to be known of a policy, wherever it is carried."""
    saved = policy.checkpoint
    config = saved.config
    about = {
        "environment": config.env.id,
        "observations": " ".join(str(policy.observation_space).split()),
        "actions": " ".join(str(policy.action_space).split()),
        "trained by": f"{config.algorithm}, seed {config.train.seed}, {saved.progress.env_steps:,} env steps",
        "checkpoint": saved.digest,
        "exported by": f"ppocli {__version__}",
    }
    if config.evaluated_in.wrappers:
        about["wrappers"] = json.dumps(config.evaluated_in.wrappers)
    kept = None if run is None else read_evaluation(run.evaluation)
    if kept is not None and kept.checkpoint_digest == saved.digest:
        returns = kept.episode_returns
        about["mean return"] = f"{fmean(returns):.1f} over {len(returns)} episodes"
    return about
