from ppocli.views.console import shell_paths


def test_paths_that_begin_alike_are_one_word_where_nothing_else_begins_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "my runs" / f"2026-seed{seed}" for seed in (3, 4)]
    for path in paths:
        path.mkdir(parents=True)
    assert shell_paths(paths) == "'my runs/2026-seed'*"
    (tmp_path / "my runs" / "2026-seed5").mkdir()
    assert shell_paths(paths) == "'my runs/2026-seed3' 'my runs/2026-seed4'"
