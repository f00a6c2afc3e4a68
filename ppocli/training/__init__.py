"""Training: an iteration, the loop around it, resuming a run, several seeds at once.

For others: `job` (what to train), `resume` (the job that an interrupted run still is), `loop` (does it), `outcome`
(what comes of it), `seeds` (several jobs), `setup` (what results depend on). Only `loop` and `setup` need torch.
"""

__all__ = ["job", "loop", "outcome", "resume", "seeds", "setup"]
