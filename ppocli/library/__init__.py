"""What `import ppocli` offers to programs: the commands as functions, and a trained agent as one."""

from ppocli.errors import PpocliError
from ppocli.evaluation.policy import TrainedPolicy
from ppocli.library.functions import (
    compare,
    evaluate,
    export,
    list_runs,
    load,
    plot,
    random_baseline,
    resume,
    train,
    train_iter,
)

__all__ = [
    "PpocliError",
    "TrainedPolicy",
    "compare",
    "evaluate",
    "export",
    "list_runs",
    "load",
    "plot",
    "random_baseline",
    "resume",
    "train",
    "train_iter",
]
