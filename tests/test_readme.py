"""README's two commands to begin with, the pruner that a page shows, and code in one style."""

from __future__ import annotations

import re
import subprocess
import sys

from conftest import PROJECT, TINY

import Pruners

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_it_opens_with_exactly_two_commands():
    opening = README[: README.index("\n## ", README.index("```"))]
    commands = [body.strip() for language, body in re.findall(r"```(\w+)\n(.*?)```", opening, re.DOTALL) if language == "bash"]
    assert len(commands) == 2 and all("\n" not in c and "venv" in c for c in commands)
    assert commands[0].endswith("main.py --pruner synflow --compression 1") and "-m pytest" in commands[1]


def test_ci_runs_the_second_command_word_for_word():
    script = "sed -n '/^<!-- test command -->$/,/^```$/p' README.md | sed -n '/^```bash$/,/^```$/p' | sed '1d;$d'"
    assert script in (PROJECT / ".ci/run").read_text()
    shown = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == BLOCKS[1][1].strip()


def test_adding_a_pruner_touches_one_file(command, tmp_path, monkeypatch):
    """The class that a page shows, in a file of its own, is a choice of `--pruner`, listed and run."""
    pages = [page.read_text(encoding="utf-8") for page in (PROJECT / "docs").glob("*.md")]
    shown = {body for page in pages for body in re.findall(r"```python\n(.*?)```", page, re.DOTALL)}
    (code,) = [body for body in shown if "class GradientFlow(Pruner)" in body]
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "gradient_flow.py").write_text(code)
    monkeypatch.setattr(Pruners, "__path__", [*Pruners.__path__, str(folder)])
    done = command(*TINY, "--pruner", "gradient-flow", "--compression", "0.5")
    assert done.status == 0 and "Parameter Sparsity:" in done.out, done.err
    assert "gradient-flow" in command("--list", "pruners").out
    sys.modules.pop("Pruners.gradient_flow")


def test_ruff_is_clean():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
