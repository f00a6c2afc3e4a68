"""The page in which a policy plays, in a real browser."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from ppocli.evaluation.policy import TrainedPolicy
from ppocli.records import checkpoint
from tests.jobs import trained
from tests.portable.test_portable import policy_config
from tests.report.test_report import browser, opened  # noqa: F401 - a fixture

EXAMPLES = Path(__file__).parents[1] / "examples"
BALANCED = "(push) => { reset(); for (let n = 1; n <= 500; n++) if (step(push)) return n; return 500; }"


def test_the_policy_balances_the_pole_and_a_push_is_felt(browser):  # noqa: F811
    with opened(browser, EXAMPLES / "cartpole.html", color_scheme="dark") as page:
        assert [page.evaluate(BALANCED, 0) for _ in range(10)] == [500] * 10
        assert page.evaluate(BALANCED, 15) < 200
        page.locator("#push").evaluate("slider => { slider.value = 7; slider.dispatchEvent(new Event('input')); }")
        assert page.locator("#push").input_value() == "7"
        page.locator("#push").dispatch_event("change")
        assert page.locator("#push").input_value() == "0"  # let go
        page.wait_for_function("Number(document.getElementById('told').textContent.split(' ')[0]) >= 0")


def test_it_acts_as_the_policy_does(browser, tmp_path):  # noqa: F811
    run, _ = trained(policy_config("CartPole-v1"), tmp_path / "run")
    policy = TrainedPolicy(checkpoint.load(run.checkpoint("best")))
    subprocess.run([sys.executable, EXAMPLES / "make_browser.py", run.path, tmp_path / "page.html"], check=True)
    obs = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    with opened(browser, tmp_path / "page.html") as page:
        assert page.evaluate("rows => rows.map(act)", obs.tolist()) == policy(obs).tolist()
