"""The mathematics and the agent. Knows no file and no screen.

For others: `agent`, `normalize`, `rollout` (what an iteration computes), `updates` (what learns from it).
"""

__all__ = ["agent", "normalize", "rollout", "updates"]
