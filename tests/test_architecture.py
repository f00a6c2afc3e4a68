"""The shape of the house: imports go one way, and the light parts stay light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ppocli"

# From the ground up; a module imports only from lower floors, or from its own package where that is named here.
FLOORS = [
    {"ppocli", "ppocli.errors"},
    {"ppocli.config", "ppocli.estimates", "ppocli.seeds", "ppocli.files", "ppocli.signals", "ppocli.devices"},
    {
        "ppocli.envs",
        "ppocli.envs.api",
        "ppocli.envs.episodes",
        "ppocli.envs.gymnasium",
        "ppocli.envs.cartpole",
        "ppocli.envs.envpool",
        "ppocli.envs.workers",
        "ppocli.envs.make",
        "ppocli.envs.spaces",
    },
    {
        "ppocli.algorithm",
        "ppocli.algorithm.adam",
        "ppocli.algorithm.agent",
        "ppocli.algorithm.advantages",
        "ppocli.algorithm.distributions",
        "ppocli.algorithm.normalize",
        "ppocli.algorithm.schedules",
        "ppocli.algorithm.rollout",
        "ppocli.algorithm.ppo",
    },
    {"ppocli.checkpoint", "ppocli.logs"},
    {"ppocli.runs"},
    {"ppocli.catalog", "ppocli.curves", "ppocli.health"},
    {"ppocli.evaluate"},
    {"ppocli.judge", "ppocli.results"},
    {"ppocli.train", "ppocli.render", "ppocli.plot", "ppocli.resume"},
    {
        "ppocli.report",
        "ppocli.report.charts",
        "ppocli.report.data",
        "ppocli.report.diagnosis",
        "ppocli.report.films",
        "ppocli.report.page",
        "ppocli.report.sentences",
        "ppocli.report.tables",
        "ppocli.report.written",
    },
    {"ppocli.outcome"},
    {"ppocli.ensemble"},
    {"ppocli.console", "ppocli.dashboard"},
    {"ppocli.progress"},
    {"ppocli.cli"},
    {"ppocli.__main__"},
]
FLOOR = {module: number for number, floor in enumerate(FLOORS) for module in floor}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


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
    return {name for name in imports_of(path) if name.split(".")[0] == "ppocli"}


def packages(path):
    return {name.split(".")[0] for name in imports_of(path)}


def test_every_module_has_its_floor():
    assert set(FLOOR) == set(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module):
    for imported in ours(MODULES[module]):
        same_package = imported.rpartition(".")[0] == module.rpartition(".")[0] != "ppocli"
        assert FLOOR[imported] < FLOOR[module] or same_package, f"{module} imports {imported}"


def test_no_circles():
    imports = {module: ours(path) - {module} for module, path in MODULES.items()}
    TopologicalSorter(imports).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("ppocli.algorithm")])
def test_the_algorithm_knows_no_environment_no_file_and_no_screen(module):
    path = MODULES[module]
    assert not packages(path) & {"gymnasium", "pathlib", "os", "io", "rich", "typer", "safetensors"}
    assert ours(path) <= {
        *(name for name in MODULES if name.startswith("ppocli.algorithm.")),
        "ppocli.envs.api",
        "ppocli.envs.episodes",
        "ppocli.config",
        "ppocli.errors",
    }


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("ppocli.envs")])
def test_environments_know_no_torch(module):
    assert "torch" not in packages(MODULES[module])


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['ppocli', '--help']\n"
        "from ppocli.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(sorted(name for name in sys.modules if '.' not in name))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "random-baseline" in result.stdout
    loaded = set(ast.literal_eval(result.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "numpy", "gymnasium", "scipy", "pydantic", "yaml", "imageio", "safetensors", "rich"}
