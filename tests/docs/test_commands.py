"""Every command of README and docs/, run in a small size. Those of one page run in order and in one folder."""

from __future__ import annotations

import glob
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from conftest import PROJECT

from Utils.options.command_line import parse
from Utils.options.parser import build_parser
from Utils.options.table import read_by

# Those of extending.md need the additions that it shows; test_extending.py runs them.
PAGES = [PROJECT / "README.md", *sorted(page for page in (PROJECT / "docs").glob("*.md") if page.stem != "extending")]
IMAGES = "synthetic:1x8x8:3:60"
SMALL = {  # flag -> what the tests give it in place of the page's values
    "--dataset": [IMAGES], "--pre-epochs": ["1"], "--post-epochs": ["1"], "--seed-list": ["1"], "--level-list": ["2"],
    "--regrow-finetune-epochs": ["1"], "--regrow-episodes": ["1"], "--density": ["0.3"], "--compression-list": ["0.5"],
    "--sparsity-list": ["0.5"], "--prune-amount": ["0.2"],
}  # fmt: skip
ADDED = {  # flag -> its value where the experiment reads it and the page does not give it
    "--dataset": [IMAGES], "--post-epochs": ["1"], "--prune-epochs": ["2"], "--regrow-finetune-epochs": ["1"],
    "--regrow-ssim-batches": ["1"], "--regrow-score-batches": ["1"], "--regrow-repeats": ["1"], "--saliency-images": ["2"],
}  # fmt: skip
DROPPED = ("--model-class", "--jobs")
NETWORKS = ("fc", "conv")  # networks of other names are too large: `fc` takes their place, unless the page needs its layers
LAYERS = ("resnet20", "traced")
LONG = ("README", "compact", "conservation", "measurements", "networks", "quick-start", "regrowth", "reports")  # pages that take more than three seconds here, and whose subjects have tests of their own
PRESET = f"""title = "Small"
[[part]]
name = "fc"
model = "fc"
dataset = "{IMAGES}"
pruner-list = ["rand"]
compression-list = [0.5]
seed-list = [1]
post-epochs = 1
"""
PARSED = {  # words of a command that is not run -> why
    "--launcher slurm": "needs a cluster; tests/slurm has one",
    "--compile": "takes the inductor's time; tests/compute/test_compilation.py has it",
    "--dataset cifar10=": "needs the preset's own dataset; tests/options/test_overrides.py replaces it",
    "torchrun": "starts processes; tests/compute/test_torchrun.py does",
}
PROGRAMS = {  # first words of commands of other programs -> what is looked at instead of running them
    "python3 -m venv": "tests/test_readme.py compares it with what CI runs",
    "pip install -r": "the file of requirements exists",
    "tensorboard --logdir": "the runs before it wrote events",
    "python -m": "the module exists, and its source has the flags",
}


def commands_of(text: str) -> list[list[str]]:
    """The words of every command in the bash blocks of a page."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def small(words: list[str]) -> list[str]:
    """A command of `main.py` with small settings in place of the page's."""
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            given[word] = []
        else:
            given[list(given)[-1]].append(word)
    experiment = given.get("--experiment", ["singleshot"])[0]
    known = {option.flag for option in read_by(experiment)}
    if words[0].startswith(("--list", "--help")):
        return words
    if "--run" in given:
        given["--run"] = [folder for pattern in given["--run"] for folder in glob.glob(pattern)]
    elif "--checkpoint" not in given:
        rival = {"--prune-epochs": "--prune-epoch-list"}
        given = {flag: ADDED[flag] for flag in ADDED if flag in known and rival.get(flag) not in given} | given
    given |= {flag: values for flag, values in ADDED.items() if flag in known and flag not in given and flag != "--dataset"}
    given |= {flag: values for flag, values in SMALL.items() if flag in given}
    given |= {"--prune-epoch-list": ["2"]} if experiment == "schedule-conservation" else {}
    named = (*given.get("--model", ["fc"]), *given.get("--expid", []))
    if named[0] not in NETWORKS and ".py:" not in named[0] and named != LAYERS:
        given["--model"] = ["fc"]
    if "--preset" in given:
        file = Path(f"{given['--preset'][0]}.toml")
        file.write_text(PRESET)
        given["--preset"] = [str(file)]
    return [word for flag, values in given.items() if flag not in DROPPED for word in (flag, *values)]


def look_at(words: list[str]) -> None:
    """What is looked at where the command is not one of `main.py`."""
    text = " ".join(words)
    program = next((program for program in PROGRAMS if text.startswith(program)), None)
    assert program, f"no test looks at: {text}"
    if program == "pip install -r":
        assert (PROJECT / words[3]).is_file()
    elif program == "tensorboard --logdir":
        assert list(Path(words[2]).rglob("events.out.tfevents.*"))
    elif program == "python -m":
        spec = importlib.util.find_spec(words[2])
        assert spec, text
        folder = Path(spec.origin).parent
        sources = "\n".join(file.read_text(encoding="utf-8") for file in (*folder.glob("*.py"), PROJECT / "tests/conftest.py"))
        assert all(f'"{word}"' in sources for word in words if word.startswith("--")), text


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.long if page.stem in LONG else (), id=page.stem) for page in PAGES]
)
def test_every_command_of_a_page_runs(page, command):
    text = page.read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        Path(name).write_text(code)
    for words in commands_of(text):
        parsed = next((mark for mark in PARSED if mark in " ".join(words)), None)
        if parsed:
            parse(words[words.index("main.py") + 1 :])
        elif words[:2] == ["python", "main.py"]:
            done = command(*small(words[2:]))
            assert done.status == 0, f"{' '.join(words)}\n{done.err}"
        else:
            look_at(words)


def test_every_command_is_one_that_the_parser_takes():
    """This holds for the page's own values, and for pages whose commands only the long tests run."""
    for page in PAGES:
        found = commands_of(page.read_text(encoding="utf-8"))
        assert found, f"{page.name}: a page shows the shortest command for its subject"
        for words in found:
            if words[:2] == ["python", "main.py"] and not words[2].startswith("--help"):
                given = vars(build_parser().parse_args(words[2:]))
                experiment = given.get("experiment", "singleshot")
                known = {option.flag for option in read_by(experiment)} | ({"--dataset"} if experiment == "assignment" else set())
                assert {f"--{name.replace('_', '-')}" for name in given} <= known | {"--list"}, " ".join(words)


def test_no_command_hides_in_a_sentence():
    """What is to be typed stands in a block, where the test above finds it; a sentence may only name what a block has."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        told = {" ".join(shlex.split(line)) for line in re.findall(r"(?<!`)`((?:python|torchrun)[^`\n]* [^`\n]+)`(?!`)", text)}
        assert told <= {" ".join(words) for page in PAGES for words in commands_of(page.read_text(encoding="utf-8"))}, page.name
