"""`ppocli compare`: which config is better, by how much, and how sure that is."""

from ppocli.cli import options
from ppocli.cli.process import importing, imports_of, require_imports
from ppocli.cli.show import meant
from ppocli.guests import import_modules


def compare_command(
    targets: options.Runs,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Compare configs over their seeds.

    Runs that differ in nothing but their seeds belong together; every other config is compared with that of the first
    run, by the mean return of best agents over unseen episodes.
    """
    with importing():
        from ppocli.evaluation.comparison import compare
        from ppocli.views import comparison, console
    runs = meant(targets, runs_dir)
    import_modules(imports_of(imports))
    require_imports(*runs)
    with console.working("Evaluating"):
        found = compare(runs)
    if as_json:
        console.as_json({"comparisons": found})
    else:
        comparison.show(found)
