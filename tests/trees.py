"""Image trees made for a test, and what a refusal looks like."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from Utils.base.errors import Refused
from Utils.data import catalogue


def refused(call, *words):
    with pytest.raises(Refused) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert str(word) in str(caught.value)


def message(capture):
    """What a refusal says, which is one line."""
    text = str(capture.value)
    assert text and "\n" not in text
    return text


def save(path, size=(8, 8), value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    pixels[0, 0] = (255, 0, 0)
    Image.fromarray(pixels).convert(mode).save(path)


def make_tree(root, test="test", classes=("ant", "bee"), size=(8, 8), suffix="png"):
    for part, count in (("train", 3), (test, 2)):
        for number, name in enumerate(classes):
            for index in range(count):
                save(root / part / name / f"{index}.{suffix}", size, 50 * number + index)
    return root


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def set_facts(monkeypatch, name, facts):
    """Let the catalogue say other `facts` of a dataset, of which a test has small files."""
    monkeypatch.setitem(catalogue.DATASETS, name, replace(catalogue.DATASETS[name], facts=facts))
