import pytest

from ppocli.config.values import Schedule, value_at


@pytest.mark.parametrize(
    ("shape", "progress", "expected"),
    [
        ("linear", 0.0, 3.0),
        ("linear", 0.25, 2.5),
        ("linear", 1.0, 1.0),
        ("cosine", 0.0, 3.0),
        ("cosine", 0.25, 1 + 2 * 0.8535533905932737),  # (1 + cos 45°) / 2
        ("cosine", 0.5, 2.0),
        ("cosine", 1.0, 1.0),
    ],
)
def test_value_at(shape, progress, expected):
    assert value_at(Schedule(start=3, end=1, shape=shape), progress) == pytest.approx(expected)


def test_a_number_never_changes():
    assert value_at(0.2, 0.0) == value_at(0.2, 0.9) == 0.2


def test_schedules_may_rise():
    assert value_at(Schedule(start=0, end=1), 0.75) == 0.75
