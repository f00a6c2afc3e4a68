"""What a run is made of: a frozen, validated config, read from YAML, a shipped preset and `--set` overrides.

For others: `models` (the config itself), `sections` (its parts), `values` (schedules), `load` (reading one, presets),
`schema` (the same for editors).
"""

__all__ = ["load", "models", "schema", "sections", "values"]
