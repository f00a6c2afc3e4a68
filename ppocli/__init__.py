"""ppocli: train, evaluate and watch PPO agents on Gymnasium tasks.

From Python the commands are functions: see `ppocli.library`, whose names are imported when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppocli.library import (
        PpocliError,
        TrainedPolicy,
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

__version__ = "0.3.0"
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ppocli import library  # torch and all else, which `ppocli --help` does without

    return getattr(library, name)
