"""The package, as a user gets it: imported, and as a wheel."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_program_that_trains_finds_its_process_as_it_left_it(tmp_path):
    subprocess.run([sys.executable, ROOT / "tests" / "as_a_library.py"], cwd=tmp_path, check=True)


@pytest.mark.slow
def test_an_installed_wheel_trains_from_a_preset_with_no_checkout(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT], check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    assert (tmp_path / "site" / "ppocli" / "configs" / "cartpole.yaml").exists()
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import ppocli.cli; "
        f"assert ppocli.cli.__file__.startswith({str(tmp_path)!r}); ppocli.cli.main()"
    )
    command = [sys.executable, "-c", program, "train", "--config", "cartpole", "--set", "train.env_steps=512"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    (run,) = (tmp_path / "runs" / "CartPole-v1").iterdir()
    command = [sys.executable, "-c", program, "report", "latest"]  # whose template comes along
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    assert (run / "report.html").stat().st_size > 1_000_000
    command = [sys.executable, "-c", program, "new-env", "boat"]  # and the one for environments
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "boat" / "boat" / "env.py").exists()
