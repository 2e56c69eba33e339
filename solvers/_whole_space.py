"""Whether a problem is one on the whole space, where closed forms hold."""

from hjpde._domain import Extrapolation, ExtrapolationAwayFromZero
from hjpde._problem import InitialValueProblem


def why_not_whole_space(problem: InitialValueProblem) -> str | None:
    """Why the problem is not one on the whole space without constraint, in a sentence, or `None` where it is.

    A box whose sides extrapolate is a window on the whole space.
    """
    if problem.constraint is not None:
        return "the problem has a `constraint`, and closed forms know none."
    if problem.domain is None:
        return None
    if any(problem.domain.periodic):
        return "the problem's `domain` is periodic, and closed forms hold on the whole space."
    for sides in problem.domain.boundary:
        for condition in sides or ():
            if not isinstance(condition, Extrapolation | ExtrapolationAwayFromZero):
                return (
                    f"the problem's `domain` has a {type(condition).__name__} condition, and closed forms hold on the "
                    "whole space."
                )
    return None
