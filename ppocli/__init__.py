"""ppocli: train, evaluate and watch PPO agents on Gymnasium tasks."""

__version__ = "0.3.0"
