"""The config as a JSON schema, by which editors complete and check it."""

from typing import Any

from ppocli.config.models import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Where an editor's YAML is a newer one than ours, 100_000 is text to it.
_UNDERSCORES = {
    "integer": r"^-?[0-9][0-9_]*(e[0-9]+)?$",
    "number": r"^-?[0-9][0-9_]*(\.[0-9]*)?(e[+-]?[0-9]+)?$",
}


def schema() -> dict[str, Any]:
    """Return the schema: each key with what it means, its type and its default, and no others."""
    return {"$schema": DIALECT, **_as_written(Config.model_json_schema()), "title": "A config of ppocli"}


def _as_written(part: Any, *, is_key: bool = False) -> Any:
    """Return a part of a schema without the titles that only repeat names, and with numbers as YAML writes them."""
    if isinstance(part, list):
        return [_as_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {
        name: _as_written(value, is_key=name in ("properties", "$defs"))
        for name, value in part.items()
        if is_key or (name != "title" and name != "default")
    }
    if "default" in part and not is_key:
        found["default"] = part["default"]
    if not is_key and (pattern := _UNDERSCORES.get(str(part.get("type")))):
        found |= {"type": [part["type"], "string"], "pattern": pattern}
    if not is_key and isinstance(part.get("description"), str):
        found["description"] = " ".join(part["description"].split())
    return found
