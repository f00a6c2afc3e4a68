"""Where tensors are computed, and by how many threads."""

import threading

import pytest
import torch

from ppocli import device as device_module
from ppocli.device import SecondThread, choose_device, threads
from ppocli.errors import PpocliError


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_is_for_the_block_alone(three_threads):
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(PpocliError, match=f"train.device: {name}, but torch finds no .*; use auto or cpu"):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("auto") == torch.device("cpu")


CPU = torch.device("cpu")


def in_which_thread(second_thread):
    with second_thread.where_it_pays() as start:
        wait = start(threading.get_ident)
        return "own" if wait() == threading.get_ident() else "second"


@pytest.mark.parametrize(
    ("device", "multiplications", "cores", "thread"),
    [
        (CPU, 8_000_000, 2, "second"),
        (CPU, 7_999_999, 2, "own"),
        (CPU, 8_000_000, 1, "own"),
        (torch.device("cuda"), 8_000_000, 2, "own"),
    ],
)
def test_a_second_thread_is_for_large_tasks_on_a_cpu_of_two_cores(monkeypatch, device, multiplications, cores, thread):
    monkeypatch.setattr(device_module, "usable_cores", lambda: cores)
    assert in_which_thread(SecondThread(device, multiplications)) == thread


def test_a_second_thread_is_used_as_long_as_it_is_faster(monkeypatch):
    monkeypatch.setattr(device_module, "usable_cores", lambda: 2)
    now, seconds = [0.0], {"own": 2.0, "second": 1.0}
    monkeypatch.setattr(device_module.time, "perf_counter", lambda: now[0])

    def block():
        with second_thread.where_it_pays() as start:
            thread = "own" if start(threading.get_ident)() == threading.get_ident() else "second"
            now[0] += seconds[thread]
        return thread

    second_thread = SecondThread(CPU, 8_000_000)
    assert [block() for _ in range(49)] == ["second", "own", *["second"] * 47]
    assert [block() for _ in range(2)] == ["own", "second"]  # it looks again now and then
    seconds["second"] = 3.0  # something else needs its core
    assert [block() for _ in range(49)] == ["second", *["own"] * 47, "second"]
    seconds["second"] = 1.0
    assert {block() for _ in range(49)} == {"own"}
    assert [block() for _ in range(3)] == ["second"] * 3


def test_a_second_thread_computes_as_the_first_does(monkeypatch):
    monkeypatch.setattr(device_module, "usable_cores", lambda: 2)
    with threads(1), torch.no_grad(), SecondThread(CPU, 8_000_000).where_it_pays() as start:
        assert start(torch.get_num_threads)() == 1
        assert start(torch.is_grad_enabled)() is False


def test_what_a_task_in_a_second_thread_raises_is_raised(monkeypatch):
    monkeypatch.setattr(device_module, "usable_cores", lambda: 2)
    second_thread = SecondThread(CPU, 8_000_000)
    with pytest.raises(ZeroDivisionError), second_thread.where_it_pays() as start:
        start(divmod, 1, 0)()
