"""Tables that are written and read again; names in them that are formulas are tested in test_inert_names.py."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from Utils.base.csv_files import read_csv, write_csv


@pytest.mark.filterwarnings("error")
def test_numbers_come_back_to_the_last_digit(tmp_path):
    draw = random.Random(1)
    numbers = [1.5183671589579621, 5e-324, 1.7976931348623157e308, *(draw.gauss(0, 1) * 10.0 ** draw.randint(-12, 12) for _ in range(5000))]
    write_csv(pd.DataFrame({"x": numbers}), tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv")["x"].tolist() == numbers
