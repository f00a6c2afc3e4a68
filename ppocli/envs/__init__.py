"""Vectorised environments behind one small protocol. Knows no torch."""
