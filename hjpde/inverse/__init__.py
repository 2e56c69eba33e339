"""Inverse problems: a part of a problem from observations of its solution."""

from ._recovered import Recovered as Recovered
from ._recovered import RecoveryState as RecoveryState
