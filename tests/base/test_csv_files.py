"""Tables whose names of layers look like numbers."""

from __future__ import annotations

import pandas as pd

from Utils.base.csv_files import read_named, write_csv


def test_names_of_layers_stay_texts(tmp_path):
    names = ["0.10", "0.1", "-1"]
    table = pd.DataFrame({"module": names, "param": names, "layer": names, "layer_in": names, "layer_out": names, "kept": [1, 2, 3]})
    write_csv(table, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read_named(tmp_path / "t.csv"), table, check_dtype=False)
    assert read_named(tmp_path / "t.csv")["layer"].tolist() == names


def test_a_table_may_lack_every_name_and_have_empty_cells(tmp_path):
    (tmp_path / "t.csv").write_text("layer,kept\n,1\n0.10,\n")
    table = read_named(tmp_path / "t.csv", keep_default_na=False)
    assert table["layer"].tolist() == ["", "0.10"]
    (tmp_path / "t.csv").write_text("kept\n1\n")
    assert read_named(tmp_path / "t.csv")["kept"].tolist() == [1]
