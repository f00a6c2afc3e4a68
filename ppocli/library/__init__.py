"""What `import ppocli` offers to programs: the commands as functions, and a trained agent as one."""

from ppocli.errors import PpocliError
from ppocli.library.functions import (
    evaluate,
    list_runs,
    load,
    plot,
    random_baseline,
    resume,
    train,
    train_iter,
)
from ppocli.library.policy import TrainedPolicy

__all__ = [
    "PpocliError",
    "TrainedPolicy",
    "evaluate",
    "list_runs",
    "load",
    "plot",
    "random_baseline",
    "resume",
    "train",
    "train_iter",
]
