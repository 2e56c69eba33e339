"""Whether a problem on a box is one on the whole space: its window, or the period of periodic functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain, Extrapolation, ExtrapolationAwayFromZero
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, is_concrete
from hjpde.solvers.paths._quasi_random import kronecker_points

_PROBES = 8


def why_not_periodic_extension(problem: InitialValueProblem) -> str | None:
    """Why paths may not run through the whole space, in a sentence, or `None` where they may.

    Sides that extrapolate are a window. Along a periodic axis the functions go on beyond the box as they are written,
    so they must be periodic themselves: their values are compared at a few points and one period further.
    """
    if problem.constraint is not None:
        return "the problem has a `constraint`, which paths alone do not know."
    domain = problem.domain
    if domain is None:
        return None
    for sides in domain.boundary:
        for condition in sides or ():
            if not isinstance(condition, Extrapolation | ExtrapolationAwayFromZero):
                return (
                    f"the problem's `domain` has a {type(condition).__name__} condition, and paths run through the "
                    "whole space."
                )
    if not any(domain.periodic) or not is_concrete(*jax.tree.leaves(eqx.filter(problem, eqx.is_array))):
        return None
    with jax.ensure_compile_time_eval():
        mismatch = _mismatch(problem, domain)
    if is_concrete(mismatch) and float(mismatch) > float(jnp.finfo(domain.lower.dtype).eps) ** 0.5:
        return (
            "the problem's `domain` is periodic, but the datum, the Hamiltonian or the viscosity has other values one "
            "period further, and paths run on beyond the box."
        )
    return None


@eqx.filter_jit
def _mismatch(problem: InitialValueProblem, domain: Domain) -> Scalar:
    """The largest relative change of a function of the problem over one period."""
    lower, upper = domain.lower, domain.upper
    periods = jnp.diag(upper - lower)[np.flatnonzero(domain.periodic)]
    points = lower[None] + (upper - lower)[None] * kronecker_points(_PROBES, domain.dim, lower.dtype)

    def functions(y: Point, p: Point) -> Float[Array, " k"]:
        t = jnp.zeros((), y.dtype)
        parts = (problem.initial_data(y), problem.hamiltonian(t, y, p), problem.viscosity.matrix(t, y))
        return jnp.concatenate([jnp.ravel(part).astype(y.dtype) for part in parts])

    def change(y: Point, period: Point) -> Scalar:
        p = jax.grad(lambda y: problem.initial_data(y).astype(y.dtype))(y)
        here, there = functions(y, p), functions(y + period, p)
        return jnp.max(jnp.abs(here - there) / (1 + jnp.abs(here)))

    return jnp.max(jax.vmap(lambda y: jax.vmap(lambda period: change(y, period))(periods))(points))
