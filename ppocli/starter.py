"""A small environment for a user to start from: the package in `template/`, by another name."""

import keyword
import re
import secrets
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ppocli.errors import PpocliError, UsageError

FILES = (
    *(".gitignore", "README.md", "my-task.yaml", "my_task/__init__.py", "my_task/env.py"),
    *("pyproject.toml", "tests/test_my_task.py"),
)
"""What is copied; in a checkout more may lie there, such as runs."""
_BESIDE_THE_PACKAGE = ("runs", "tests", "dist", "build")


@dataclass(frozen=True)
class Started:
    """An environment that was written, and where."""

    directory: Path
    env_id: str
    files: list[Path]


def template_folder() -> Path:
    """Return where the template lies: inside an installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "template"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "template"


def start(name: str, directory: Path) -> Started:
    """Write an environment to a new or empty directory, all of it or nothing. Raises UsageError, PpocliError."""
    spelled = _spellings(name)
    try:
        _check_place(directory)
        files = _write(spelled, directory)
    except OSError as error:
        raise PpocliError(f"{directory}: cannot be written ({error.strerror})") from error
    return Started(directory, f"{spelled['MyTask']}-v0", files)


def _spellings(name: str) -> dict[str, str]:
    """Return what stands for each spelling of the template's name: as given, as a module's, as a class's."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name):
        raise UsageError(
            f"new-env {name}: a name is of the letters a to z and digits, its words joined by - or _, and begins with "
            "a letter, such as my-task or MyTask"
        )
    if re.search(r"-v\d+$", name):
        raise UsageError(f"new-env {name}: write the name without {name[-3:]}, which its id has from itself")
    module = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
    if keyword.iskeyword(module) or module in _BESIDE_THE_PACKAGE or _is_importable(module):
        raise UsageError(
            f"new-env {name}: {module} is taken, by Python, an installed module or a folder beside it; choose another"
        )
    camel = "".join(word[0].upper() + word[1:] for word in re.split("[-_]", name))
    if camel in _known_tasks():
        raise UsageError(f"new-env {name}: Gymnasium has a {camel} itself; choose another name")
    return {"my-task": name, "my_task": module, "MyTask": camel}


def _known_tasks() -> set[str]:
    """Return the names of Gymnasium's own tasks, read from where it registers them: to import it takes a while."""
    package = find_spec("gymnasium")
    if package is None or package.origin is None:
        return set()
    text = (Path(package.origin).parent / "envs" / "__init__.py").read_text(encoding="utf-8")
    return set(re.findall(r'id="(\w+)-v\d+"', text))


def _is_importable(module: str) -> bool:
    spec = find_spec(module)  # that of a mere folder, such as the one to be filled, has no origin
    return spec is not None and spec.origin is not None


def _check_place(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: there is a file of that name")
    if directory.is_dir() and any(directory.iterdir()):
        raise UsageError(f"{directory}: the directory is not empty; name another, or one that is yet to be made")
    if not directory.parent.is_dir():
        raise UsageError(f"{directory}: there is no directory {directory.parent} to make it in")


def _write(spelled: dict[str, str], directory: Path) -> list[Path]:
    """Write everything aside, then move it to where it belongs; return the files. Raises OSError."""
    exists = directory.is_dir()
    aside = (directory if exists else directory.parent) / f".{directory.name}.{secrets.token_hex(4)}.tmp"
    files, moved = [_renamed(file, spelled) for file in FILES], []
    try:
        for source, file in zip(FILES, files, strict=True):
            text = (template_folder() / source).read_text(encoding="utf-8")
            (aside / file).parent.mkdir(parents=True, exist_ok=True)
            (aside / file).write_text(_renamed(text, spelled), encoding="utf-8", newline="\n")
        if exists:  # it may be somebody's working directory, and stays the same one
            for path in list(aside.iterdir()):
                moved.append(path.rename(directory / path.name))
            aside.rmdir()
        else:
            aside.rename(directory)
    except BaseException:
        for path in moved:
            path.rename(aside / path.name)
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return [directory / file for file in files]


def _renamed(text: str, spelled: dict[str, str]) -> str:
    return re.sub("|".join(spelled), lambda found: spelled[found[0]], text)
