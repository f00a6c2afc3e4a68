"""The mathematics and the agent. Knows no file and no screen.

For others: `agent`, `normalize`, `rollout` (what an iteration computes), `updates` (what learns from it); and of what
an agent is made, `distributions`, `memory`, `networks` and `vision`.
"""

__all__ = ["agent", "distributions", "memory", "networks", "normalize", "rollout", "updates", "vision"]
