"""The documents are held to the code: what they say can be done can be done, and what they name is there."""

import re
import runpy
import shlex
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from ppocli.cli.app import app
from ppocli.config.load import config_path, load_config
from ppocli.config.models import KEYS, RENAMED, Config
from ppocli.training.seeds import SeedResult, SeedsResult
from tests.test_architecture import FLOORS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks/README.md"]
}
COMMANDS = get_command(app).commands


def outside_fences(text):
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def shell_lines(text):
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from filter(str.strip, block.replace("\\\n", " ").splitlines())


def commands_of(program, text):
    """Yield the arguments of each call of a program in a page's shell lines, up to whatever ends a command."""
    for line in shell_lines(text):
        for command in re.findall(rf"(?:^|/|\s){program} ([^#&;>]+)", line):
            yield shlex.split(command)


PPOCLI_COMMANDS = sorted({(page, tuple(command)) for page in PAGES for command in commands_of("ppocli", PAGES[page])})


@pytest.mark.parametrize(
    ("page", "command"), PPOCLI_COMMANDS, ids=lambda part: part if part in PAGES else " ".join(part)
)
def test_every_command_is_understood(page, command):
    name, *arguments = command
    parsed = COMMANDS[name].make_context(name, arguments).params  # raises where an option or its value does not exist
    config = parsed.get("config") or "lunar"
    if config.endswith(".yaml") and f"`{config}`" in PAGES[page]:
        config = "lunar"  # what the page itself has the reader write is not here
    algorithm = [f"algorithm={parsed['algorithm']}"] if parsed.get("algorithm") else []
    load_config(str(ROOT / config_path(config)), [*(parsed.get("overrides") or ()), *algorithm])


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_exist(page):
    for name in re.findall(r"`ppocli ([a-z][\w-]*)", PAGES[page]):
        assert name in COMMANDS, f"{page}: ppocli {name}"


def test_every_command_is_shown():
    assert {command[0] for _, command in PPOCLI_COMMANDS} == {info.name for info in app.registered_commands}


def test_every_script_and_test_that_is_named_is_there():
    calls = [
        (page, call)
        for page, text in PAGES.items()
        for call in re.findall(r"\b((?:python|pytest)\b[^`\n|]*?\b[\w/]+\.py\b[^`\n|]*)", text)
    ]
    assert len(calls) > 20
    for page, call in calls:
        script = re.search(r"[\w/]+\.py\b", call)[0]
        assert (ROOT / script).is_file(), f"{page}: {call}"
        if not call.startswith("pytest"):
            for option in re.findall(r"\s(--[\w-]+)", call.partition("ppocli ")[0]):
                assert f'add_argument("{option}"' in (ROOT / script).read_text(), f"{page}: {call}"


def test_every_function_that_is_named_with_its_file_is_in_it():
    named = [
        (name, ROOT / "docs" / path)
        for page in PAGES
        for name, path in re.findall(r"\[`(\w+)`\]\(([^)]+\.py)\)", PAGES[page])
    ]
    assert len(named) > 12
    for name, path in named:
        assert re.search(rf"^\s*(?:def|class) {name}\b", path.read_text(), re.MULTILINE), f"{name} in {path}"


def test_what_contributors_are_sent_to_is_there():
    named = re.findall(r"`([\w/]+\.(?:py|md))`", PAGES["CONTRIBUTING.md"])
    assert len(named) > 15
    for path in named:
        assert (ROOT / "ppocli" / path).exists() or (ROOT / path).exists(), path


def anchors(text):
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", outside_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    """Yield what a page refers to in this checkout, as path and anchor."""
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)|src=\"([^\"]+)\"", outside_fences(PAGES[page])):
        path, _, anchor = "".join(target).partition("#")
        yield ((ROOT / page).parent / path if path else ROOT / page).resolve(), anchor


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        assert path.exists(), f"{page}: {path}"
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {path}#{anchor}"


def test_the_readme_leads_to_every_page_and_some_page_shows_every_picture():
    assert {path for path, _ in links("README.md")} >= set((ROOT / "docs").glob("*.md"))
    assert {path for page in PAGES for path, _ in links(page)} >= set((ROOT / "docs").glob("*.[pg][ni][gf]"))


@pytest.mark.parametrize("page", PAGES)
def test_every_key_that_is_named_exists(page):
    sections = "|".join(name for name in Config.model_fields if name != "algorithm")
    for name in re.findall(rf"(?<![\w/.-])(?:{sections})\.(?!(?:py|json)\b)[a-z]\w+", PAGES[page]):
        assert name in KEYS or name in RENAMED, f"{page}: {name}"


def test_the_page_of_keys_is_what_its_script_makes():
    script = ROOT / "docs/make_keys.py"
    assert PAGES["docs/keys.md"] == runpy.run_path(str(script))["page"](), "python docs/make_keys.py writes it anew"


def test_the_page_of_keys_has_every_key_with_what_it_takes():
    rows = {row[0].strip("`"): row[1:] for row in map(cells, PAGES["docs/keys.md"].splitlines()) if row}
    assert set(KEYS) <= set(rows)
    assert all(all(cell.strip() for cell in rows[name]) for name in KEYS)
    takes, default, on_resume, sb3, _ = rows["train.env_steps"]
    assert (takes, default) == ("a whole number from 1 to 1,000,000,000,000", "`500_000`")
    assert (on_resume, sb3) == ("may change", "`total_timesteps`")
    assert rows["ppo.target_kl"][:3] == ["a finite number above 0, or `null`", "`null`", "stays"]
    assert rows["env.id"][1] == "required"
    assert rows["env.backend"][0] == "`gymnasium`, `envpool` or `vector`"


def code_map():
    """Return what the map says of each module, by its path below `ppocli/`."""
    block = PAGES["docs/code.md"].partition("## The map")[2].split("```")[1]
    found, folders = {}, []
    for line in block.strip().splitlines()[1:]:
        indent, name, words = re.fullmatch(r"( +)(\S+) *(.*)", line).groups()
        del folders[len(indent) // 2 - 1 :]
        if name.endswith("/"):
            folders.append(name)
        else:
            assert "".join([*folders, name]) not in found, line
            found["".join([*folders, name])] = words
    return found


def test_the_code_map_has_every_module_and_no_other():
    real = {path.relative_to(ROOT / "ppocli").as_posix() for path in (ROOT / "ppocli").rglob("*.py")}
    named = code_map()
    assert named.keys() == {path for path in real if not path.endswith(("__init__.py", "__main__.py"))}
    assert all(named.values())


def test_the_code_map_orders_folders_as_the_architecture_does():
    block = PAGES["docs/code.md"].partition("## Which folder imports which")[2].split("```")[1]
    order = [{name.strip() for name in floor.split(",")} for floor in block.split("→")]
    assert order[::-1] == [floor - {"ppocli"} for floor in FLOORS if floor != {"__main__"}]


def test_what_results_as_json_have_is_what_they_have():
    paragraph = re.search(r"^`train --json` has.*?\n\n?(?=\Z|\n)", PAGES["docs/numbers.md"], re.DOTALL | re.MULTILINE)[
        0
    ]
    named = set(re.findall(r"`([a-z_]+)`", paragraph))
    assert named >= {"run_dir", "target_return", "resumed_at_env_steps", "evaluation"}
    assert named <= {field.name for kind in (SeedResult, SeedsResult) for field in fields(kind)}


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_as_many_cells_in_every_row(page):
    for line, following in pairwise(outside_fences(PAGES[page]).splitlines()):
        if line.startswith("|") and following.startswith("|"):
            assert len(cells(line)) == len(cells(following)), f"{page}: {following}"


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_fill_in(page):
    text = PAGES[page]
    assert not re.findall(r"\b(?:TODO|TBD|FIXME|XXX|[A-Z]+_TABLE)\b|\?\?\?|lorem ipsum", text, re.IGNORECASE)
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    lines = re.sub(r"^```.*?^```$", "```", text, flags=re.DOTALL | re.MULTILINE).splitlines()
    for number, line in enumerate(lines):
        following = next(filter(str.strip, lines[number + 1 :]), "# the end")
        if heading := re.match(r"#+ ", line):
            assert not re.match(rf"#{{1,{len(heading[0]) - 1}}} ", following), f"{page}: nothing below {line}"
        if line.endswith(":") and not "".join(lines[number + 1 : number + 2]).strip():
            assert following.startswith(("```", "|", "- ")), f"{page}: nothing after {line}"


@pytest.mark.parametrize("page", PAGES)
def test_pages_can_be_read_in_an_editor(page):
    long = [line for line in PAGES[page].splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long, page
