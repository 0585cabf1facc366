"""The floors of the house: which package may import which (`pyproject.toml`, tool.importlinter), names, and lengths."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter

from conftest import PROJECT

SOURCES = [file for name in ("Experiments", "Models", "Pruners", "Utils") for file in sorted((PROJECT / name).rglob("*.py"))]
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
RECORDED = PROJECT / "tests/golden"  # whose folders of runs have each a copy of one network, under one name


def test_arrows_run_down():
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_loose_file():
    assert [file.name for file in (PROJECT / "Utils").glob("*.py")] == ["__init__.py"]


def test_no_name_three_times_and_no_file_or_function_too_long():
    named = [file for file in (*SOURCES, *TESTS) if file.name not in ("__init__.py", "conftest.py") and RECORDED not in file.parents]
    names = Counter(file.name for file in named)
    assert not [name for name, count in names.items() if count > 2]
    assert not [file.name for file in (*SOURCES, *TESTS) if len(file.read_text().splitlines()) > 250]
    functions = [(file.name, node) for file in SOURCES for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    assert not [(name, node.name) for name, node in functions if node.end_lineno - node.lineno >= 50]
