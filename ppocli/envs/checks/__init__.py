"""What `check` asks: by what an environment shows when chance plays, by trying it out, by Gymnasium's checkers."""

__all__ = ["gymnasium", "shown", "trial", "tried"]
