"""What a notebook shows, and that it trains as the command does, in a real kernel."""

import json
import re

import pytest

import ppocli
from ppocli.notebook import in_notebook
from ppocli.records import checkpoint

SETTINGS = '{"train.env_steps": 8192, "train.eval_interval": 8192, "train.eval_episodes": 5, "env.workers": 0}'
CELLS = [
    f'import ppocli\nresult = ppocli.train("cartpole", seed=3, overrides={SETTINGS})\nresult',
    "policy = ppocli.load()\npolicy",
    "import numpy as np\nprint(policy(np.zeros((3, 4), np.float32)))\nppocli.list_runs()",
    f'again = ppocli.train("cartpole", seed=3, overrides={SETTINGS}, name="again")\nprint(again.run_dir)',
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient", reason="it runs notebooks")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    folder = tmp_path_factory.mktemp("notebook")
    client.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return folder, [cell.outputs for cell in book.cells]


def shown(outputs, kind="text/html"):
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def printed(outputs):
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def test_a_bar_and_tables_are_shown(notebook):
    _, (training, loading, acting, _) = notebook
    bar, result = shown(training)
    assert re.fullmatch(
        r'<progress max="8192" value="8192"></progress> CartPole-v1: 8,192 env steps, return [\d.]+', bar
    )
    assert "<th>env_steps</th><td>8,192</td>" in result
    assert "<th>policy of</th><td>CartPole-v1</td>" in shown(loading)[0]
    assert re.fullmatch(r"\[[01] [01] [01]\]\n", printed(acting))
    assert "<th>CartPole-v1</th><td>3</td>" in shown(acting)[0]


def test_it_trains_as_a_program_does(notebook, tmp_path):
    folder, _ = notebook
    expected = ppocli.train("cartpole", seed=3, overrides=json.loads(SETTINGS), runs_dir=tmp_path)
    weights = checkpoint.load(expected.checkpoint).part("agent")
    found = [checkpoint.load(path).part("agent") for path in folder.glob("runs/*/*/checkpoints/best.safetensors")]
    assert len(found) == 2
    for agent in found:
        assert all((agent[name] == values).all() for name, values in weights.items())


def test_elsewhere_nothing_is_shown(capsys, tmp_path):
    assert not in_notebook()
    ppocli.train("cartpole", overrides={"train.env_steps": 2048, "env.workers": 0}, runs_dir=tmp_path)
    assert capsys.readouterr() == ("", "")
