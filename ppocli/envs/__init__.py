"""Vectorised environments behind one small protocol. Knows no torch.

For others: `api` (the protocol, and the forms of observations and actions), `episodes` (episode after episode), `make`
(from a config to environments), `gymnasium` (those that can be drawn), `masks` (what is allowed), `spaces` (from
Gymnasium's to ours, and back), `check` (whether one is right to train in).
"""

__all__ = ["api", "check", "episodes", "gymnasium", "make", "masks", "spaces"]
