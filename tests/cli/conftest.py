import contextlib
import io
import shutil
import sys

import pytest

from ppocli.cli import main
from tests.cli.commands import FAST


def train(folder, *options):
    """Train a run in a folder, in this process; return its directory."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["ppocli", "train", *options, "--quiet"])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    (run_dir,) = (folder / "runs").glob("*/*")
    return run_dir


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """The folder of a trained run; nobody is to write there."""
    return train(tmp_path_factory.mktemp("trained"), "--config", "cartpole", *FAST, "--seed", "3", "--name", "demo")


@pytest.fixture
def run_dir(trained_once, ppocli, tmp_path):
    """A trained run; the working directory is the folder that holds its runs/."""
    return shutil.copytree(trained_once, tmp_path / "runs" / "CartPole-v1" / trained_once.name)
