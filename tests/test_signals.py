import os
import signal

import pytest

from ppocli.signals import Stopped, stop_request


def test_the_first_signal_asks_and_says_so_the_second_exits(capfd):
    with stop_request() as stop:
        assert (bool(stop), stop.exit_code) == (False, 0)
        signal.raise_signal(signal.SIGTERM)
        assert (bool(stop), stop.exit_code) == (True, 128 + signal.SIGTERM)
        assert "again to stop at once" in capfd.readouterr().err
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signal.SIGINT)
        assert stopped.value.signal_number == signal.SIGINT


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_request():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_terminal_that_is_gone_does_not_matter(monkeypatch):
    def gone(*_):
        raise OSError(5, "Input/output error")

    with stop_request() as stop:
        monkeypatch.setattr(os, "write", gone)
        signal.raise_signal(signal.SIGTERM)
        assert stop


def test_what_is_forked_ends_when_it_is_told_to_at_once():
    with stop_request():
        for _ in range(10):
            child = os.fork()
            if not child:
                signal.alarm(60)
                signal.pause()
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
