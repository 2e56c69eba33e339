"""The root of a function of one number between two numbers."""

from collections.abc import Callable

from scipy.optimize import root_scalar


def root_between(function: Callable[[float], float], low: float, high: float) -> float:
    """By Brent's method, to rounding; the signs at the ends must differ."""
    return float(root_scalar(function, bracket=(low, high), method="brentq", xtol=1e-15, rtol=1e-14).root)
