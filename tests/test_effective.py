"""Effective masks: paths found by hand, by brute force, and by SynFlow's own pass."""

import pytest
import torch
from conftest import TINY  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Models import registry
from Models.layers import Identity2d
from Models.masking import add_masks
from Models.shapes import eval_mode
from Pruners.effective import find_paths
