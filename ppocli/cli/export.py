"""`ppocli export`: the policy without ppocli."""

from pathlib import Path
from typing import Annotated, Any

from ppocli.cli import options
from ppocli.cli.options import option
from ppocli.cli.process import found_checkpoint, importing
from ppocli.errors import UsageError
from ppocli.files import check_output


def export_command(
    target: options.Target,
    output: Annotated[Path | None, option("--output FILE.onnx|.h", "An ONNX model, or a C header.")] = None,
    tensorboard: Annotated[Path | None, option("--tensorboard DIR", "Or its curves, for TensorBoard.")] = None,
    stochastic: Annotated[
        bool, option("--stochastic", "ONNX: with noise as an input, actions are drawn by it.")
    ] = False,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Write a trained policy for programs without ppocli.

    It takes observations as the environment gives them and returns its actions. It is checked against the policy on
    observations of its task, and written if it acts alike.
    """
    if (output is None) == (tensorboard is None):
        raise UsageError(
            "export takes --output FILE.onnx or FILE.h for the policy, or --tensorboard DIR for the curves"
        )
    if output is None:
        _export_curves(target, tensorboard, runs_dir, as_json)
        return
    with importing():
        from ppocli.evaluation.policy import TrainedPolicy
        from ppocli.portable import write
        from ppocli.views import console
    check_output(output, write.FORMATS)
    saved, run = found_checkpoint(target, runs_dir, imports)
    with console.working(f"Exporting {saved.config.env.id}"):
        exported = write.export(TrainedPolicy(saved), output, run, stochastic=stochastic)
    if as_json:
        console.as_json(exported)
        return
    console.out.print(f"policy: {console.short_path(output)}, {_size(exported)}")
    if exported.checked is None:
        console.info("warning: not checked: there is no C compiler here (cc, gcc or clang)")
    else:
        console.out.print(f"checked on {exported.checked.observations:,} observations: {_said(exported.checked)}")


def _export_curves(target: str, folder: Any, runs_dir: Path, as_json: bool) -> None:
    with importing():
        from ppocli.records import tensorboard
        from ppocli.records.catalog import find_run
        from ppocli.views import console
    tensorboard.write(find_run(target, runs_dir), folder)
    if as_json:
        console.as_json({"tensorboard": folder.absolute()})
    else:
        console.out.print(f"curves: {console.short_path(folder)}")


def _size(exported: Any) -> str:
    if exported.stack_bytes is None:
        return f"{exported.bytes:,} bytes"
    return f"{exported.bytes:,} bytes of constants, {exported.stack_bytes:,} of the stack"


def _said(checked: Any) -> str:
    if checked.largest_difference:
        return f"its actions are the policy's, to {checked.largest_difference:.0e} of their range"
    return f"its actions are the policy's{f', {checked.ties} ties aside' if checked.ties else ''}"
