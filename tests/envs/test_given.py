"""What environments give: numbers, flags and pictures of many types, and what only passes for one."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from ppocli.envs.given import begun, flag, number, number_or_nan, picture
from ppocli.guests import UnexpectedError


@pytest.mark.parametrize(
    "value",
    [
        *(1, 1.0, True, np.float16(1), np.int8(1), np.bool_(True), np.array(1.0), np.array([1]), np.array([[1.0]])),
        *(Decimal(1), Fraction(1), [1.0], torch.tensor(1.0), torch.ones(1, requires_grad=True)),
    ],
)
def test_a_number_is_a_number_whatever_its_type(value):
    assert number(value, "reward") == 1.0
    assert type(number(value, "reward")) is float
    assert flag(value, "terminated") is True


@pytest.mark.parametrize("value", ["1", None, b"1", [], [1, 2], np.zeros(2), torch.zeros(2), 1j, {}, object()])
def test_what_is_no_number(value):
    with pytest.raises(UnexpectedError, match=r"its reward is .*, and no number"):
        number(value, "reward")


@pytest.mark.parametrize("value", ["False", None, 2, 0.5, np.array([True, False])])
def test_what_is_no_flag(value):
    with pytest.raises(UnexpectedError, match="its terminated is "):
        flag(value, "terminated")


@pytest.mark.parametrize("given", [np.zeros(2), (0.0, 0.0), [0.0, {}], (0.0, {}, {}), None, (0.0, None)])
def test_an_observation_comes_with_an_info(given):
    with pytest.raises(UnexpectedError, match=r"reset\(\) gave "):
        begun(given)
    assert begun((given, {})) == (given, {})


PICTURE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (PICTURE, PICTURE),
        (PICTURE.tolist(), PICTURE),
        (torch.from_numpy(PICTURE), PICTURE),
        (PICTURE.astype(np.int64), PICTURE),
        (PICTURE.astype(np.float32), PICTURE),
        (PICTURE / 255, PICTURE),
        (np.dstack([PICTURE, np.full((2, 4), 9, np.uint8)]), PICTURE),  # with transparency
        (PICTURE[:, :, 0], np.dstack([PICTURE[:, :, 0]] * 3)),
        (PICTURE[:, :, :1], np.dstack([PICTURE[:, :, 0]] * 3)),
        (np.ones((2, 2), bool), np.full((2, 2, 3), 255)),
    ],
)
def test_pictures_of_many_kinds(frame, expected):
    found = picture(frame)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "frame", [None, "▟▙", [], np.zeros(3), np.zeros((2, 2, 2)), np.full((2, 2, 3), 256), np.full((2, 2, 3), -1.0)]
)
def test_what_is_no_picture(frame):
    with pytest.raises(UnexpectedError, match=r"render\(\) gave .*no picture, which is an array \(height, width, 3\)"):
        picture(frame)


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.float32(2.5), 2.5), (True, 1.0), (-1e100, -1e100), (2e100, None), (np.inf, None), (np.nan, None), ("x", None)],
)
def test_an_info_is_a_number_that_can_be_logged_or_none(value, found):
    given = number_or_nan(value)
    assert given == found if found is not None else np.isnan(given)
