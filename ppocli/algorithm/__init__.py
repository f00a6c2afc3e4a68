"""Proximal policy optimisation: the mathematics and the agent. Knows no environment, no file and no screen."""
