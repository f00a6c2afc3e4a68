"""`ppocli schema`: what a config may hold, for editors."""

from ppocli.cli.process import importing


def schema_command() -> None:
    """Print the JSON schema of a config.

    An editor completes and checks by it whatever config has a line that names its file: # yaml-language-server:
    $schema=ppocli.schema.json
    """
    with importing():
        from ppocli.config.schema import schema
        from ppocli.views import console
    console.as_json(schema())
