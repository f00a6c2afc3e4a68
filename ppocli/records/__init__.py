"""A run's directory: what lies in it, how it is written, and which run a user means. Knows no torch.

For others: `run` (the directory, read), `writer` (the one who trains writes it), `info` (its `run.json`), `logs` (its
CSV files), `tensorboard` (the same for TensorBoard), `checkpoint` (its checkpoints, as arrays), `kept` (results found
out once), `catalog` (all runs).
"""

__all__ = ["catalog", "checkpoint", "info", "kept", "logs", "run", "tensorboard", "writer"]
