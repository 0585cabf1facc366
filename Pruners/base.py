"""What the file of a method imports: the class to derive from, and the problem that it is given."""

from Pruners._shared.base import Pruner
from Pruners._shared.problem import Problem

__all__ = ["Problem", "Pruner"]
