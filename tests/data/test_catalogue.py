"""Names of datasets, and what the catalogue says of each without reading a file."""

import importlib
import subprocess
import sys

import pytest
from conftest import PROJECT
from trees import refused

from Utils.base.errors import Refused
from Utils.data import catalogue
from Utils.data.catalogue import Facts, describe, find, named_sets
from Utils.data.open_set import open_dataset

GOOD = [*named_sets(), "SVHN", "MNIST", "folder:/x", "folder:a b", "synthetic:3x32x32:10", "synthetic:1x1x1:2:2", "synthetic:3x8x9:4:9"]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name):
    find(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cifar-10", "choose from mnist, fashion-mnist"),
        ("", "choose from"),
        ("../x", "choose from"),
        ("folder:", "folder:PATH"),
        ("synthetic:", "synthetic:CxHxW:CLASSES[:N]"),
        ("synthetic:3x32:10", "CxHxW"),
        ("synthetic:3x32x32", "CxHxW"),
        ("synthetic:3x32x32:10:", "CxHxW"),
        ("synthetic:0x32x32:10", "at least 1"),
        ("synthetic:3x32x32:-1", "CxHxW"),
        ("synthetic:3x32x32:0", "2 classes"),
        ("synthetic:3x32x32:10:0", "an image per class"),
        ("synthetic:3x9999x9999:10:1000", "too large"),
        ("synthetic:3x32x32:10:99999999999", "CxHxW"),
        ("synthetic:3x32x32:10 ", "CxHxW"),
        ("synthetic:٣x32x32:10", "CxHxW"),
    ],
)
def test_bad_names(name, word):
    refused(lambda: find(name), repr(name), word)


def test_the_command_line_needs_no_torch():
    code = "import sys, Utils.data.catalogue as c; c.describe(); c.find('cifar10'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_describe_has_a_row_for_every_kind():
    rows = describe()
    assert [row["name"] for row in rows][: len(named_sets())] == named_sets() and len(rows) == len(named_sets()) + 3
    assert all(isinstance(value, str) and value for row in rows for value in row.values())
    assert rows[2]["mean"] == "0.491/0.482/0.447" and rows[2]["shape"] == "3x32x32"


def test_every_reader_is_there():
    for entry in catalogue.DATASETS.values():
        module, _, function = entry.reader.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), entry


READER = """
import torch
from Utils.data.catalogue import Facts
from Utils.data.reading import Contents

def read(name, place, image_size):
    labels = torch.arange(12) % 3
    return Contents(torch.full((12, 1, 4, 4), 51, dtype=torch.uint8), labels, torch.zeros(3, 1, 4, 4, dtype=torch.uint8), labels[:3])

def read_described(name, place, image_size):
    return read(name, place, image_size)._replace(facts=Facts((1, 4, 4), 3, 12, 3, "crop-flip"))
"""


@pytest.mark.parametrize("known", [True, False])
def test_an_entry_and_a_reader_make_a_dataset(known, tmp_path, monkeypatch, command):
    """Nothing else has to be told of it, whether the catalogue has its facts or its reader returns them."""
    name, module = f"dots{known:d}", f"reader_of_dots{known:d}"
    (tmp_path / f"{module}.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    facts = Facts((1, 4, 4), 3, 12, 3, "none", (0.2,), (1.0,)) if known else None
    entry = catalogue.Entry(f"{module}:{'read' if known else 'read_described'}", "a test", facts, aliases=(f"Dots{known:d}",))
    monkeypatch.setitem(catalogue.DATASETS, name, entry)
    data = open_dataset(f"Dots{known:d}", tmp_path)
    data.load()
    assert (data.name, data.input_shape, data.train_size, data.num_classes) == (name, (1, 4, 4), 12, 3)
    assert data.augment == ("none" if known else "crop-flip") and data.mean == (pytest.approx(0.2),) and data.std == (1.0,)
    with pytest.raises(Refused, match=f"choose from mnist, .*, imagenet, .*{name}, folder:PATH"):
        find("no set")
    assert describe()[-1]["name"] == name
    done = command("--dataset", name, "--model", "fc", "--pruner", "rand", "--compression", "0.5", "--post-epochs", "1", "--no-save")
    assert done.status == 0 and f"Loading {name} dataset." in done.out, done
