"""What the pages say of flags, files and each other is so."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter

import pytest
from conftest import PROJECT

from Utils.options.flags import ANCESTOR_FLAGS
from Utils.options.parser import build_parser
from Utils.options.table import table

README = PROJECT / "README.md"
PAGES = sorted((PROJECT / "docs").glob("*.md"))
TEXTS = {page: page.read_text(encoding="utf-8") for page in (README, *PAGES)}
OTHERS = {  # flags of other programs, the one that extending.md adds, and words that stand for any flag
    "--flag", "--no-flag", "--against", "--only", "--nproc-per-node", "--logdir", "--dist", "--kills", "--times", "--places",
    "--lr-floor",
}  # fmt: skip
NONE = (None, (), "")


def rows() -> list[tuple[str, str, str]]:
    """(page, flag, default) of every table row that begins with a flag in backticks: there the flag is explained."""
    found = []
    for page, text in TEXTS.items():
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if cells and (flag := re.fullmatch(r"`(--[a-z-]+)`", cells[0])):
                found.append((page.name, flag[1], cells[-1]))
    return found


def flags() -> set[str]:
    """Every flag of the program, in the form that its help shows first."""
    declared = {next(s for s in action.option_strings if s.startswith("--")) for action in build_parser()._actions if action.option_strings}
    return declared | {option.flag for option in table()} | set(ANCESTOR_FLAGS)


def test_every_flag_is_explained_on_exactly_one_page():
    explained = Counter(flag for _, flag, _ in rows())
    assert sorted(flags() - set(explained)) == []
    assert sorted(set(explained) - flags()) == []
    assert [flag for flag, count in explained.items() if count > 1] == []


def test_every_default_is_the_declared_one():
    """`value` in backticks; off for a switch; where there is no value, words that have none in backticks alone."""
    declared = {option.flag: option for option in table()}
    for page, flag, cell in rows():
        option = declared.get(flag)
        if option is None or option.parse is None:
            assert cell in ("off", "none"), (page, flag)
            assert option is None or option.default is False
        elif option.default in NONE:
            assert not re.fullmatch(r"`[^`]*`", cell), (page, flag)
        else:
            value = " ".join(map(str, option.default)) if isinstance(option.default, tuple) else str(option.default)
            assert cell == f"`{value}`", (page, flag, value)


def test_every_flag_that_a_page_names_exists():
    known = set(build_parser()._option_string_actions) | flags() | OTHERS
    for page, text in TEXTS.items():
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)) - known == set(), page.name


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        name, _, anchor = target.partition("#")
        if name.startswith("https://"):
            continue
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_files_that_pages_name_exist():
    for page, text in TEXTS.items():
        for name in re.findall(r"`((?:[\w.]+/)*[\w.]+\.py)`", text):
            others = ("mine.py", "network.py", "FILE.py")
            shown = f"`{name}`:\n```python\n" in text  # as a file to be written
            assert name in others or shown or (PROJECT / name).is_file(), (page.name, name)


def test_the_floors_are_those_of_the_contract():
    contract = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    drawn = re.findall(r"^ \d  (.*)$", TEXTS[PROJECT / "docs/architecture.md"], re.MULTILINE)
    packages = [set(re.findall(r"(?:Utils\.\w+|[A-Z]\w+)", line)) for line in drawn]
    assert packages[1:] == [set(layer.split(" | ")) for layer in contract["layers"]] and drawn[0] == "main.py"


def test_readme_is_short_and_leads_to_every_page():
    assert len(TEXTS[README].splitlines()) <= 135
    assert {page.name for page in PAGES} - set(re.findall(r"docs/([\w-]+\.md)", TEXTS[README])) == set()


def test_every_pruner_and_experiment_has_its_row():
    import Pruners
    from Utils.options.experiments import EXPERIMENTS

    methods = re.findall(r"^\| `([a-z][a-z-]*)` \|", TEXTS[PROJECT / "docs/methods.md"], re.MULTILINE)
    assert sorted(methods) == sorted(Pruners.names())
    listed = [cell for line in TEXTS[PROJECT / "docs/quick-start.md"].splitlines() for cell in re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", line)]
    assert {name for cell in listed for name in re.findall(r"`([a-z-]+)`", cell)} >= set(EXPERIMENTS)


def test_every_column_and_key_that_a_run_writes_is_told():
    """The folders are those that later versions must read: what other programs find there stands on a page."""
    told = {word for text in TEXTS.values() for word in re.findall(r"`([a-z0-9_]+)`", text)}
    folders = PROJECT / "tests/golden/folders"
    columns = {c for file in folders.rglob("*.csv") if file.name != "grid.csv" for c in file.read_text().split("\n")[0].split(",")}
    keys = {key for file in folders.rglob("summary.json") for key in json.loads(file.read_text())}
    assert sorted(columns - told) == [] and sorted(keys - told) == []
