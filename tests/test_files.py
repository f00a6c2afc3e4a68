import os

import pytest

from ppocli.files import is_writable


@pytest.mark.parametrize("writable", [True, False])
def test_a_folder_that_does_not_exist_is_as_writable_as_where_it_would_be_made(tmp_path, monkeypatch, writable):
    asked = []
    monkeypatch.setattr(os, "access", lambda *question: asked.append(question) or writable)  # a superuser always may
    assert is_writable(tmp_path / "new" / "newer") is writable
    assert asked == [(tmp_path, os.W_OK)]
