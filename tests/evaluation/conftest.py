import pytest

from ppocli.device import one_thread


@pytest.fixture(autouse=True, scope="package")
def one_thread_of_torch():
    """As in training; more would only wait for each other over tensors as small as these."""
    with one_thread():
        yield
