"""Networks: plain torch modules, found by name. `Models.registry` imports torch only when it builds one."""

from __future__ import annotations

from Models.registry import CLASSES, build, resolve

__all__ = ["CLASSES", "build", "resolve"]
