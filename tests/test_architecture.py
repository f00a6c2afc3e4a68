"""The shape of the house: each folder one idea, imports that go one way, and light parts that stay light."""

import ast
import importlib
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ppocli"

# From the ground up: a room imports from lower floors only.
FLOORS = [
    {"ppocli", "errors"},
    {"seeds", "files", "signals", "guests", "cores", "starter", "notebook"},
    {"children", "device"},
    {"config"},
    {"envs"},
    {"algorithm", "records"},
    {"evaluation"},
    {"training"},
    {"views"},
    {"pictures"},
    {"portable", "report"},
    {"library"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def room_of(module):
    return module if module == "ppocli" else module.split(".")[1]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def ours(path):
    """What a module imports of the package; the package itself only hands on, later, what `library` has."""
    return {name for name in imports_of(path) if name.split(".")[0] == "ppocli" and path != MODULES["ppocli"]}


def packages(path):
    return {name.split(".")[0] for name in imports_of(path)}


def modules_of(*rooms):
    return [module for module in sorted(MODULES) if room_of(module) in rooms]


def test_every_room_has_its_floor():
    assert set(FLOOR) == {room_of(module) for module in MODULES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    for imported in ours(MODULES[module]):
        here, there = room_of(module), room_of(imported)
        assert here == there or FLOOR[there] < FLOOR[here], f"{module} imports {imported}"


def test_no_circles():
    imports = {module: ours(path) - {module} for module, path in MODULES.items()}
    TopologicalSorter(imports).prepare()  # raises CycleError


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nobody_reaches_past_what_a_folder_offers(module):
    """A folder's `__all__` names the modules, or what it defines itself, that others may use."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module.startswith("ppocli."):
            continue
        folder, *inner = node.module.split(".")[1:]
        if folder == room_of(module) or not (PACKAGE / folder).is_dir():
            continue
        offered = importlib.import_module(f"ppocli.{folder}")
        for name in inner[:1] or [alias.name for alias in node.names]:
            assert name in offered.__all__, f"{module} takes {name} from {folder}"


def test_every_folder_says_what_it_is_and_offers_what_there_is():
    for folder in (path.parent for path in PACKAGE.rglob("__init__.py")):
        name = ".".join(folder.relative_to(PACKAGE.parent).parts)
        package = importlib.import_module(name)
        assert package.__doc__, name
        if name != "ppocli":
            assert all(f"{name}.{offered}" in MODULES or hasattr(package, offered) for offered in package.__all__), name


@pytest.mark.parametrize("module", modules_of("algorithm"))
def test_the_algorithm_knows_no_backend_no_file_and_no_screen(module):
    path = MODULES[module]
    assert not packages(path) & {"gymnasium", "pathlib", "os", "io", "rich", "typer", "safetensors"}
    assert {name for name in ours(path) if room_of(name) == "envs"} <= {"ppocli.envs.api", "ppocli.envs.episodes"}


@pytest.mark.parametrize("module", modules_of("envs", "records", "config", "views"))
def test_only_what_computes_knows_torch(module):
    assert "torch" not in packages(MODULES[module])


def test_what_is_global_to_a_process_is_touched_by_the_command_line_and_by_processes_of_its_own():
    """Signals are handled by `signals`, whose handlers the command line sets, and the child processes of a training."""
    setters = {"chdir", "set_num_threads", "freeze", "disable", "dup2"}
    found = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and isinstance(called, ast.Attribute) and called.attr in setters:
                found.add(module)
            if (isinstance(node, ast.Name) and node.id == "stop_request") or getattr(
                node, "attr", ""
            ) == "stop_request":
                found.add(module)
    assert found == {
        "ppocli.cli.process",  # the garbage collector
        "ppocli.cli.train",  # the handlers of signals
        "ppocli.training.seeds",  # the same, in a child process of its own
        "ppocli.device",  # torch's threads: set while it computes, and put back
        "ppocli.views.console",  # where a reader has left, stdout leads nowhere
    }


def test_importing_the_package_changes_nothing():
    code = (
        "import os, signal, sys, threading, pkgutil, importlib\n"
        "import torch, ppocli\n"
        "def state():\n"
        "    handlers = [signal.getsignal(number) for number in signal.valid_signals()]\n"
        "    seed = torch.random.get_rng_state().tolist()\n"
        "    return handlers, os.getcwd(), dict(os.environ), sys.stdout, torch.get_num_threads(), seed, sys.path[:]\n"
        "before = state()\n"
        "for found in pkgutil.walk_packages(ppocli.__path__, 'ppocli.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        "assert state() == before\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def loaded_by(*arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['ppocli', *{arguments!r}]\n"
        "from ppocli.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(sorted(name for name in sys.modules if '.' not in name))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout, set(ast.literal_eval(result.stdout.splitlines()[-1]))


def test_help_loads_nothing_heavy():
    text, loaded = loaded_by("--help")
    assert "random-baseline" in text
    assert not loaded & {"torch", "numpy", "gymnasium", "scipy", "pydantic", "yaml", "imageio", "safetensors", "rich"}


def test_checking_an_environment_loads_no_torch():
    text, loaded = loaded_by("check-env", "CartPole-v1", "--json")
    assert '"env_id": "CartPole-v1"' in text
    assert not loaded & {"torch", "matplotlib", "scipy"}


def test_listing_runs_loads_no_torch_and_no_gymnasium(tmp_path):
    assert not loaded_by("runs", "--runs-dir", str(tmp_path))[1] & {"torch", "gymnasium", "matplotlib", "scipy"}
