import pytest

from ppocli.views import text


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["/opt/x/bin/ppocli", "train", "--config", "lunar"], "ppocli train --config lunar"),
        (["ppocli", "train", "--set", "rollout.gamma=0.9"], "ppocli train --set rollout.gamma=0.9"),
        (["x/__main__.py", "train", "--config", "my configs/a.yaml"], "ppocli train --config 'my configs/a.yaml'"),
        (["p", "train", "--config", "/home/me/a b.yaml"], "ppocli train --config 'a b.yaml'"),
        (["p", "train", "--config=/home/me/a.yaml"], "ppocli train --config=a.yaml"),
        (["p", "train", "--runs-dir", "C:\\me\\runs"], "ppocli train --runs-dir runs"),
        (["p", "train", "--name", "$(reboot)\n"], "ppocli train --name '$(reboot)'"),
    ],
)
def test_a_command_can_be_pasted_and_names_no_folder(command, line):
    assert text.command_line(command) == line
