"""The files that an experiment adds to the folder of a saved run."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.base.locks import is_locked
from Utils.runs.later_measurements import Annex, later_numbers
from Utils.runs.manifest import OwnFiles


def test_its_json_has_the_checksums_of_its_other_files(tmp_path):
    annex = Annex(tmp_path, "histogram", ["histogram-a.png"])
    with annex:
        assert is_locked(tmp_path / ".lock")
        annex.write_table("histogram.csv", pd.DataFrame({"bin": [1]}))
        annex.write_file("histogram-a.png", lambda file: file.write_bytes(b"picture"))
        annex.finish({"bins": 3})
    assert not is_locked(tmp_path / ".lock")
    files = {"histogram.csv": b"bin\n1\n", "histogram-a.png": b"picture"}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert read_json(tmp_path / "histogram.json") == {"bins": 3, "files": sums}
    assert OwnFiles(tmp_path).names == {*files, "histogram.json"}
    with Annex(tmp_path, "time") as annex:
        annex.finish({"repeats": 30})
    assert read_json(tmp_path / "time.json") == {"repeats": 30}


def test_numbers_of_an_earlier_measurement_go_before_its_files_are_replaced(tmp_path):
    """A kill between the two must not leave the old numbers beside the new files."""
    for content in ({"images": 3}, None):
        with Annex(tmp_path, "compact") as annex:
            annex.write_file("compact.pt", lambda file, content=content: file.write_text(str(content)))
            if content:
                annex.finish(content)
    assert (tmp_path / "compact.pt").read_text() == "None" and not (tmp_path / "compact.json").exists()
    assert later_numbers(tmp_path) == ({}, [])


@pytest.mark.parametrize(("name", "more"), [("saliency.csv", ()), ("saliency.json", ()), ("saliency-b.png", ["saliency-b.png"])])
def test_what_somebody_else_wrote_is_in_its_way(tmp_path, name, more):
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match=f"{name} is not a file of this program"):
        Annex(tmp_path, "saliency", more)
    assert [file.name for file in tmp_path.iterdir()] == [name]
