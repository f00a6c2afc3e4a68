from contextlib import nullcontext
from types import SimpleNamespace

from ppocli.views import console
from ppocli.views.console import shell_paths


def test_paths_that_begin_alike_are_one_word_where_nothing_else_begins_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "my runs" / f"2026-seed{seed}" for seed in (3, 4)]
    for path in paths:
        path.mkdir(parents=True)
    assert shell_paths(paths) == "'my runs/2026-seed'*"
    (tmp_path / "my runs" / "2026-seed5").mkdir()
    assert shell_paths(paths) == "'my runs/2026-seed3' 'my runs/2026-seed4'"


def test_episodes_are_counted_where_somebody_looks(monkeypatch):
    seen = []
    monkeypatch.setattr(
        console, "working", lambda what: nullcontext(seen.append(what) or SimpleNamespace(update=seen.append))
    )
    with console.counting(1200) as tell:
        tell(7)
    assert seen == ["Playing 1,200 episodes", "Playing 1,200 episodes: 7"]
    monkeypatch.setattr(console, "working", lambda what: nullcontext())
    with console.counting(20) as tell:
        tell(7)
