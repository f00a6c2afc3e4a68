"""From a batch to better weights: one file an algorithm, behind one protocol.

For others: `api` (the protocol), `make` (from a config to its update).
"""

__all__ = ["api", "make"]
