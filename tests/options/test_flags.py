"""The command line: prefixes, booleans, bounds, what is read and what is refused, and how quickly help answers."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import PROJECT

from Utils.base.errors import Refused
from Utils.options.command_line import parse
from Utils.options.flags import ANCESTOR_FLAGS
from Utils.options.parser import build_parser
from Utils.options.resolve import identity, without_late
from Utils.options.table import incidental, read_by, table
from Utils.options.types import Grid


def unambiguous_prefixes():
    for flag in ANCESTOR_FLAGS:
        for end in range(3, len(flag) + 1):
            prefix = flag[:end]
            if prefix == flag or sum(f.startswith(prefix) for f in ANCESTOR_FLAGS) == 1:
                yield prefix, flag


PREFIXES = list(unambiguous_prefixes())


def test_the_prefix_table_is_the_ancestors():
    assert len(PREFIXES) > 250
    table = dict(PREFIXES)
    assert table["--data"] == "--dataset" and table["--mask"] == "--mask-scope" and table["--tra"] == "--train-batch-size"
    assert table["--post-epoch"] == "--post-epochs" and table["--no"] == "--no-cuda" and table["--i"] == "--invert"
    assert table["--we"] == "--weight-decay" and table["--de"] == "--dense-classifier" and table["--o"] == "--optimizer"


def test_prefixes_keep_their_meaning():
    parser = build_parser()
    for prefix, flag in PREFIXES:
        assert parser.expand([prefix, "x"]) == [flag, "x"]
        assert parser.expand([f"{prefix}=x"]) == [f"{flag}=x"]


@pytest.mark.parametrize("prefix", ["--pre", "--prune-epoch", "--comp", "--lr-drop", "--exp", "--se=", "--mo"])
def test_prefixes_that_were_ambiguous_still_are(prefix, refused):
    if prefix == "--se=":
        assert build_parser().expand(["--se=3"]) == ["--seed=3"]
    else:
        refused([prefix, "1"], f"ambiguous flag {prefix}")


def test_a_late_option_at_its_default_is_in_no_name():
    facts = {"lr": 0.1, "thop": False, "deterministic": False}
    assert without_late(facts) == {"lr": 0.1}
    assert without_late(facts | {"thop": True}, always=("deterministic",)) == {"lr": 0.1, "thop": True, "deterministic": False}


def test_new_flags_may_be_shortened_too():
    assert build_parser().expand(["--image", "32", "--over"]) == ["--image-size", "32", "--overwrite"]
    assert build_parser().expand(["--val", "0.1", "--pa", "3", "--lr-s", "cosine"]) == ["--val-fraction", "0.1", "--patience", "3", "--lr-schedule", "cosine"]


SWITCHES = [option for option in table() if option.parse is None]


def reader_of(option):
    """Words that choose an experiment which reads the option, and what that needs."""
    if option.part in ("trace", "histogram", "report", "time"):
        return ["--experiment", option.part, *(["--trace", "t.json"] if option.name == "step" else []), *(["--run", "x"] if option.part != "trace" else [])]
    if option.part == "assignment":
        return ["--experiment", "assignment", "--preset", "demo"]
    if option.part == "saliency":
        return ["--experiment", "saliency", "--run", "x"]
    if option.part.startswith("regrow"):
        bench = option.part == "regrow bench" or option.name in ("regrow_to", "regrow_fraction")
        return ["--experiment", *(["regrow-bench"] if bench else ["regrow", "--regrow-to", "0.9"]), "--checkpoint", "x"]
    if option.part == "levels":
        return ["--experiment", "multishot", "--level-list", "1", "--pre-epochs", "5"]
    return {"launcher": ["--seed-list", "1"], "patience": ["--val-fraction", "0.1"], "weights_dense": ["--weights", "x.pt"]}.get(option.name, [])


def single(words):
    """The options of the one run, or of the last cell."""
    options = parse(words)
    return options.cells[-1].options if isinstance(options, Grid) else options


def test_a_list_given_in_parts_is_one_list():
    assert parse(["--experiment", "histogram", "--run", "a", "b", "--run", "c"]).run == ["a", "b", "c"]


@pytest.mark.parametrize("option", SWITCHES, ids=lambda o: o.flag)
def test_switches_mean_what_they_say(option):
    """`type=bool` took any text, False included, for true."""
    flag, dest = option.flag, option.name
    opposite = "--" + flag[5:] if flag.startswith("--no-") else "--no-" + flag[2:]
    cases = {(): False, (flag,): True, (flag, "True"): True, (flag, "False"): False, (flag, "false"): False, (opposite,): False,
             (f"{flag}=False",): False}  # fmt: skip
    for words, value in cases.items():
        assert getattr(single([*reader_of(option), *words]), dest) is value, words


def test_density_compression_and_sparsity_are_one_thing():
    for words in (["--compression", "1"], ["--density", "0.1"], ["--sparsity", "0.9"]):
        options = parse(words)
        assert (options.compression, options.density, options.sparsity) == pytest.approx((1, 0.1, 0.9))
    assert identity(parse(["--compression", "1"])) == identity(parse(["--density", "0.1"]))
    assert parse([]).density == 1.0


def test_whether_a_flag_is_read_does_not_depend_on_pruner_or_device():
    parse(["--pruner", "rand", "--prune-dataset-ratio", "10", "--workers", "4", "--gpu", "0", "--no-cuda"])


def test_experiments_without_a_reader_refuse_the_flag():
    with pytest.raises(Refused, match="--augment is not read by --experiment prune"):
        parse(["--experiment", "prune", "--augment", "none"])


OTHERS = ("experiment", "run", "data_mirror", "for", "trace", "preset", "set", "checkpoint", "regrow_replay")
VALUES = {"dataset": "synthetic:1x8x8:3", "model": "conv", "model_class": "tinyimagenet", "lr_drops": "3", "expid": "name", "rewind_epoch": "2",
          "slurm_option": "qos=high", "regrow_allocation": "uniform", "regrow_selection": "random", "regrow_init": "kaiming",
          "regrow_dense": __file__, "regrow_reference": __file__}  # fmt: skip


@pytest.mark.parametrize("option", [o for o in table() if o.name not in OTHERS and not o.axis], ids=lambda o: o.name)
def test_every_flag_parses_and_changes_its_option(option):
    value = VALUES.get(option.name)
    value = value or (next((c for c in option.choices if c != option.default), None) if option.choices else None)
    words = [option.flag] if option.parse is None else [option.flag, value or ("0.5" if not option.is_text else "x")]
    if option.name == "model_class":
        words += ["--model", "vgg16"]
    if option.name.startswith("slurm_"):
        words += ["--launcher", "slurm", "--seed-list", "1", "2"]
    try:
        changed = single(reader_of(option) + words).record()
    except SystemExit:
        words[1] = "7"
        changed = single(reader_of(option) + words).record()
    assert changed[option.name] != single(reader_of(option) + words[2:]).record()[option.name]


def test_what_makes_two_runs_different():
    base = parse([])
    assert set(base.record()) - set(identity(base)) == set(incidental()) & set(base.record()) | {"precision"}  # as it was not given
    assert identity(parse(["--precision", "bf16"])) != identity(base)
    assert identity(parse(["--seed", "2"])) != identity(base)
    assert identity(parse(["--gpu", "1", "--verbose", "--workers", "0", "--data-dir", "x"])) == identity(base)


HELPS = {"--help": "the flags that most people need", "--help regrow": "--regrow-steps", "--help-all": "--saliency-images"}


@pytest.mark.parametrize("words", HELPS)
def test_help_needs_no_torch(words):
    code = (
        f"import sys; sys.argv = ['main.py', *{words.split()}]; import main\n"
        "try: main.main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert HELPS[words] in done.stdout
    shown = {option.flag for option in table() if re.search(option.flag + r"(?![\w-])", done.stdout)}
    wanted = {"--help": {o.flag for o in table() if o.common}, "--help-all": {o.flag for o in table()},
              "--help regrow": {o.flag for o in read_by("regrow")}}[words]  # fmt: skip
    assert shown >= wanted and (words == "--help-all" or len(shown) < len(table()) * 0.6)


def test_the_short_help_has_a_dozen_flags_and_an_unknown_experiment_is_refused(capsys):
    assert 10 <= sum(option.common for option in table()) <= 15
    with pytest.raises(SystemExit) as stop:
        parse(["--help", "prun"])
    assert stop.value.code == 2 and "--help prun: did you mean prune? choose" in capsys.readouterr().err
