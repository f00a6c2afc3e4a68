import pytest

from ppocli.device import threads


@pytest.fixture(autouse=True, scope="package")
def one_thread_of_torch():
    """As in training; more would only wait for each other over tensors as small as these."""
    with threads(1):
        yield
