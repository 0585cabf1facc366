"""Networks: plain torch modules, found by name through `Models.registry`, which imports torch only to build one."""

from __future__ import annotations

from Models.registry import CLASSES, build, resolve

__all__ = ["CLASSES", "build", "resolve"]
