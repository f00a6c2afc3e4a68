"""The mathematics and the agent. Knows no file and no screen.

For others: `agent`, `device`, `normalize`, `rollout` (what an iteration computes), `updates` (what learns from it).
"""

__all__ = ["agent", "device", "normalize", "rollout", "updates"]
