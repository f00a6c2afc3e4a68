"""How well a policy does: one protocol for every policy, the solved check, statistics, learning curves.

For others: `agents` (from a checkpoint to an agent), `play` (who plays, and how), `policy` (a trained agent as a
function), `judge` (while training), `results` (afterwards), `statistics`, `estimates`, `comparison` (which config is
better), `curves`, `moves` and `health` (what it all amounts to).
"""

__all__ = [
    *(
        "NUM_EPISODES",
        "agents",
        "comparison",
        "curves",
        "estimates",
        "health",
        "judge",
        "moves",
        "play",
        "policy",
        "results",
    ),
    "statistics",
]

NUM_EPISODES = 100  # of an evaluation, a baseline and a solved check, unless others are asked for, and a running mean
