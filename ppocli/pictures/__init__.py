"""What becomes a file to look at, or a window.

For others: `figures` (PNG, SVG, PDF), `films` (mp4, GIF, a window), `learning` (a film of several stages of training);
figures and films each bring libraries that the others do without.
"""

__all__ = ["figures", "films", "learning"]
