"""Whether the tests would notice: faults put into the code by chance, one at a time, which some test should then fail.

    python benchmarks/mutants.py --draw 1 --count 60 --output mutants.json

Of all faults that could stand in the code that learns, so many are drawn, each as likely as any other; seed and code
alone say which, and a larger draw begins with the smaller. In a fresh copy of the checkout the tests beside the module
run first, then all; running far too long counts as caught. Left alone: strings, types, asserts, errors that are raised.
"""

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, namedtuple
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import accumulate, pairwise
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
MUTATED = ["algorithm/**/*.py", "training/**/*.py", "evaluation/**/*.py", "envs/**/*.py", "**/checkpoint.py"]
NOT_COPIED = [".git", ".venv", "runs", ".*_cache", "__pycache__", ".hypothesis", ".peer", "*.egg-info", "dist", "build"]
BESIDE, ALL, LEFT_OPEN, SURVIVED = "caught by neighbourhood", "caught by all", "not caught by neighbourhood", "SURVIVED"
SWAPS = {
    "<": "<=", ">": ">=", "==": "!=", "is": "is not", "in": "not in", "and": "or", "+": "-", "*": "/", "<<": ">>",
    "&": "|", "True": "False", "break": "continue", "min": "max", "argmin": "argmax", "minimum": "maximum",
}  # fmt: skip
SWAPS |= {new: old for old, new in SWAPS.items()} | {"//": "/", "%": "*", "**": "*", "@": "*", "^": "&"}
OPERATOR = re.compile(rb"is not|not in|[a-z]+|[<>=!]=|[-+*/%@<>&|^]+")
NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn, ast.Not, ast.Constant)
TEXT_OR_TYPE = re.compile(r"[bf]?['\"]|(None|([\w.]+\.)?([A-Z]+[a-z]\w*|int|float|str|bytes|bool|list|dict)(\[.*])?)$")
SKIPPED = re.compile(r"if .*TYPE_CHECKING|__all__ =|\S+\.acknowledgement =|(\w+\.)*(TypeVar|debug|info|warn\w*)\(")
Mutant = namedtuple("Mutant", ["file", "line", "operator", "before", "after"])


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may be mutated. Within f-strings Python 3.11 does not know the places, nor is there much to find."""
    told = ast.unparse(node) if isinstance(node, ast.If | ast.Assign | ast.Expr | ast.Call) else ""
    if not isinstance(node, ast.Assert | ast.Raise | ast.JoinedStr) and not SKIPPED.match(told):
        yield node
        for name, field in ast.iter_fields(node):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST) and name not in {"annotation", "returns", "decorator_list"}:
                    yield from walk(child)


def edits(node: ast.AST, content: bytes, lines: list[int]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (start, end, operator, replacement) of a node's mutations; `lines` has each line's place in the content."""

    def span(of: ast.AST) -> tuple[int, int]:
        return lines[of.lineno - 1] + of.col_offset, lines[of.end_lineno - 1] + of.end_col_offset

    def swap(start: int, end: int) -> tuple[int, int, str, str]:
        word = content[start:end].decode()
        return start, end, f"{word} to {SWAPS[word]}", SWAPS[word]

    operands = []
    match node:
        case ast.Compare():
            operands = [node.left, *node.comparators]
        case ast.BoolOp():
            operands = node.values
        case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
            operands = [] if any(TEXT_OR_TYPE.match(ast.unparse(side)) for side in (left, right)) else [left, right]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            sign = re.match(rb"(not|-|~)\s*", content[span(node)[0] :])
            yield span(node)[0], span(node)[0] + len(sign[0]), f"{sign[1].decode()} removed", ""
        case ast.Constant(value=bool()) | ast.Break() | ast.Continue():
            yield swap(*span(node))
        case ast.Constant(value=int() | float() as value):
            yield *span(node), "number", repr(value + 1 if value + 1 != value else value * 2)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield *span(value), "return None", "None"
        case ast.Slice():
            yield from ((*span(bound), "slice bound dropped", "") for bound in (node.lower, node.upper) if bound)
        case ast.Call():
            for start, end in map(span, node.keywords):
                yield start, end + len(re.match(rb"(\s*,[ \t]*)?", content[end:])[0]), "keyword dropped", ""
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in SWAPS:
                yield swap(span(node.func)[1] - len(name), span(node.func)[1])
    for left, right in pairwise(operands):
        end = span(left)[1]
        between = re.sub(rb"#.*", lambda comment: b" " * len(comment[0]), content[end : span(right)[0]])
        yield swap(*(end + place for place in OPERATOR.search(between).span()))
    for test in filter(None, [getattr(node, "test", None), getattr(node, "guard", None), *getattr(node, "ifs", [])]):
        if not isinstance(getattr(test, "ops", [getattr(test, "op", test)])[0], NEGATED_BY_SWAP):
            yield *span(test), "condition negated", f"not ({content[slice(*span(test))].decode()})"
    target = getattr(node, "targets", [getattr(node, "target", None)])[0]
    stores = getattr(node, "value", None) and isinstance(target, ast.Attribute | ast.Subscript)
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if stores or calls or isinstance(node, ast.AugAssign | ast.Delete):
        yield *span(node), "statement deleted", "pass"


def mutants_of(file: str, content: bytes) -> list[Mutant]:
    """Return all that are valid Python, in the order of their places; two ways to the same text count once."""
    lines = [0, *accumulate(map(len, content.splitlines(keepends=True)))]
    found = {content: None}
    for start, end, operator, new in sorted(e for n in walk(ast.parse(content)) for e in edits(n, content, lines)):
        after = content[:start] + new.encode() + content[end:]
        with suppress(SyntaxError):
            compile(after, file, "exec")
            found.setdefault(after, Mutant(file, content[:start].count(b"\n") + 1, operator, content, after))
    return list(found.values())[1:]


def report(number: int, mutant: Mutant, outcome: dict) -> dict:
    """Print a mutant in one line, and return it with its diff."""
    texts = [text.decode().split("\n") for text in (mutant.before, mutant.after)]
    old, new = (lines[mutant.line - 1].strip() for lines in texts)
    start = max(0, len(os.path.commonprefix([old, new])) - 30)  # noqa: RUF071  (it is characters that count here)
    change = f"{old[start : start + 60]}  →  {new[start : start + 60] or '(nothing)'}"
    diff = list(difflib.unified_diff(*texts, mutant.file, f"mutant {number}", n=1, lineterm=""))
    record = {"number": number, "place": f"{mutant.file}:{mutant.line}", "operator": mutant.operator, "change": change}
    print(f"{number:3} {record['place']}, {mutant.operator}: {change} ", *outcome.values(), flush=True)
    return record | outcome | {"diff": diff}


def kill_children(pid: int) -> None:
    """Kill all below a process of ours, whatever sessions they are in."""
    for child in psutil.Process(pid).children(recursive=True) if psutil.pid_exists(pid) else []:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def run_tests(checkout: Path, mutant: Mutant | None, selection: Iterable[str], limit: float) -> tuple[str, float]:
    """Return which test failed first, "" when none did, and after how many seconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, tempfile.TemporaryFile("w+") as output:
        copy = shutil.copytree(checkout, Path(folder, "copy"))
        if mutant:
            (copy / mutant.file).write_bytes(mutant.after)
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": folder}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *selection]
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=copy, env=environment, start_new_session=True, **streams)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = "the time limit"
        finally:  # an interruption too
            kill_children(process.pid)
            with suppress(ProcessLookupError):  # when nothing is left of its group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        seconds = round(time.perf_counter() - start, 1)
        output.seek(0)
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output.read(), re.MULTILINE)
    return "" if code in (0, 5) else failed[1] if failed else f"pytest ended with {code}", seconds  # 5: it had no tests


def tests_beside(checkout: Path, file: str) -> list[str]:
    folder, own = checkout.joinpath("tests", *Path(file).parts[1:-1][:1]), f"test_{Path(file).name}"
    found = folder.rglob(own if folder == checkout / "tests" else "test_*.py")
    return [str(path.relative_to(checkout)) for path in sorted(found, key=lambda path: (path.name != own, path))]


def judge(checkout: Path, mutant: Mutant, steps: dict[str, list[str]], limits: dict[frozenset, float]) -> dict:
    for verdict, selection in steps.items():
        failed, seconds = run_tests(checkout, mutant, selection, limits[frozenset(selection)])
        if failed:
            return {"verdict": verdict, "test": f"in {seconds} s: {failed}"}
    return {"verdict": SURVIVED if ALL in steps else LEFT_OPEN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", type=int, required=True, metavar="SEED")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="of the draw")
    parser.add_argument("--list", action="store_true", help="print the draw, run nothing")
    parser.add_argument("--first-only", action="store_true", help="run no tests but those beside the module")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time; with 1, all tests run in 2 processes")
    parser.add_argument("--patience", type=float, default=60, help="seconds beyond four times what the tests take")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="what came out, kept up to date")
    parser.add_argument("--resume", type=Path, metavar="FILE.json", help="such a file, to be resumed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, resource.getrlimit(resource.RLIMIT_DATA)[1]))  # of each process
    files = sorted({path.relative_to(ROOT) for pattern in MUTATED for path in ROOT.glob(f"ppocli/{pattern}")})
    mutants = [mutant for file in files for mutant in mutants_of(file.as_posix(), (ROOT / file).read_bytes())]
    possible = Counter(str(Path(mutant.file).parent) for mutant in mutants)
    print(f"{len(mutants)} possible mutations: {', '.join(f'{folder} {n}' for folder, n in possible.items())}")
    code = hashlib.sha256(b"".join(mutant.after for mutant in mutants)).hexdigest()
    random.Random(arguments.draw).shuffle(mutants)
    drawn = dict(enumerate(mutants[: arguments.count], 1))
    result = {"draw": arguments.draw, "code": code, "possible": possible, "mutants": []}
    saved = json.loads(arguments.resume.read_text()) if arguments.resume else result
    if saved | {"mutants": []} != result:
        sys.exit(f"{arguments.resume}: of another draw, or of other code")
    tried = {one["number"]: one for one in saved["mutants"] if one["verdict"] != LEFT_OPEN or arguments.first_only}
    left = [number for number in arguments.only or drawn if number not in tried]
    if arguments.list:
        for number in left:
            report(number, drawn[number], {})
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool, ExitStack() as on_exit:
        on_exit.callback(kill_children, os.getpid())
        checkout = shutil.copytree(ROOT, Path(folder, "checkout"), ignore=shutil.ignore_patterns(*NOT_COPIED))
        later = {} if arguments.first_only else {ALL: ["-n", "2" if arguments.jobs == 1 else "0"]}
        beside = (tests_beside(checkout, drawn[number].file) for number in left)
        steps = [({BESIDE: ["-n", "0", *tests]} if tests else {}) | later for tests in beside]
        limits = {}
        for tests, selection in {frozenset(tests): tests for one in steps for tests in one.values()}.items():
            failed, seconds = run_tests(checkout, None, selection, 3600)
            print(f"without a mutant {seconds} s: pytest {' '.join(selection)}", flush=True)
            if failed:
                sys.exit(f"without a mutant: {failed}")
            limits[tests] = arguments.patience + 4 * seconds
        verdicts = pool.map(lambda number, one: judge(checkout, drawn[number], one, limits), left, steps)
        for number, verdict in zip(left, verdicts, strict=True):
            tried[number] = report(number, drawn[number], verdict)
            if output := arguments.output or arguments.resume:
                part = output.with_name(f"{output.name}.part")
                part.write_text(json.dumps(result | {"mutants": list(tried.values())}, indent=1))
                part.replace(output)
    missed = [record for record in tried.values() if record["verdict"] not in (BESIDE, ALL)]
    print(*(line for record in missed for line in ["", *record["diff"]]), sep="\n")
    print(f"\n{len(tried) - len(missed)} of {len(tried)} caught, {1 - len(missed) / max(1, len(tried)):.1%}")


main()
