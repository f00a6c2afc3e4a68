import pytest

from ppocli.views.curve import Curve, _round_bounds
from tests.views.iterations import metrics


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([-412.7, 0.0, 283.4], (-420, 300)),  # 696 apart, so to multiples of 20
        ([21.1, 475.0], (20, 480)),
        ([500.0, 500.0], (440, 560)),  # a tenth to each side, then to multiples of 20
        ([0.3, 0.1 + 0.2], (-0.8, 1.4)),  # what is only rounding is no rise
        ([], (-1, 1)),
    ],
)
def test_round_bounds(values, bounds):
    assert _round_bounds(values) == pytest.approx(bounds)


def test_points_are_means_over_episodes():
    curve = Curve(4000)
    curve.add(metrics(1, env_steps=1000, episodes=1, return_mean=10.0))
    curve.add(metrics(2, env_steps=1001, episodes=3, return_mean=50.0))
    curve.add(metrics(3, env_steps=2500, episodes=0, return_mean=None))
    curve.add(metrics(4, env_steps=4000, episodes=2, return_mean=70.0))
    places, means = curve.points(4)
    assert places.tolist() == [1.5, 3.5]
    assert means.tolist() == [40.0, 70.0]


def test_a_wide_curve_is_no_rougher():
    curve = Curve(1000)
    for step in range(1, 1001):
        curve.add(metrics(1, env_steps=step, return_mean=1.0))
    places, _ = curve.points(720)
    assert places.tolist() == [10 * number + 5 for number in range(72)]
