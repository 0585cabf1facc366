"""What a file from a stranger may hold."""

from __future__ import annotations

from collections.abc import Callable


class Malicious:
    """An object whose pickle calls a function with these arguments where it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments
