"""The names for a method's own file: the base class, the problem to be scored, and the protocols of its parts."""

from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Distribution, Layer, apportion
from Pruners._shared.dynamics import Growth
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import Schedule

__all__ = ["Distribution", "Growth", "Layer", "Problem", "Pruner", "Schedule", "apportion"]
