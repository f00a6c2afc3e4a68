"""Training: an iteration, the loop around it, going on with a run, several seeds at once.

For others: `job` (what is to be trained), `resume` (the job that an interrupted run still is), `loop` (does it),
`outcome` (what comes of it, for those who watch), `seeds` (several jobs), `setup` (what results depend on). Only `loop`
and `setup` need torch.
"""

__all__ = ["job", "loop", "outcome", "resume", "seeds", "setup"]
