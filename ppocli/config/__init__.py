"""What a run is made of: a frozen, validated config, read from YAML, a shipped preset and `--set` overrides.

For others: `models` (the config itself), `values` (schedules), `load` (reading one, presets).
"""

__all__ = ["load", "models", "values"]
