"""Diffusion whose coefficients depend on time or place: many cheap stages instead of many steps."""

from collections.abc import Callable
from typing import Any, ClassVar, final

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS as DIFFRAX_RESULTS
from jax import lax
from jaxtyping import Array, Float, PyTree

from hjpde._types import Scalar

Field = Float[Array, "..."]


def stable_interval(stages: int) -> float:
    """How many times longer than forward Euler's the stable step of `runge_kutta_legendre` is."""
    return (stages**2 + stages - 2) / 4


def runge_kutta_legendre(rate: Callable[[Field], Field], y: Field, step: Scalar, stages: int) -> Field:
    r"""One step of the second-order Runge-Kutta-Legendre method for $y' = f(y)$ with real negative eigenvalues.

    ??? cite "References"

        C. D. Meyer, D. S. Balsara and T. D. Aslam, *A stabilized Runge-Kutta-Legendre method for explicit super-time-
        stepping of parabolic and mixed equations*, J. Comput. Phys. 257, 2014, equations (16)-(19).
    """
    j = np.arange(stages + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(j < 2, 1 / 3, (j**2 + j - 2) / (2 * j * (j + 1)))
    width = 4 / (stages**2 + stages - 2)
    mu = (2 * j[2:] - 1) / j[2:] * b[2:] / b[1:-1]
    nu = -(j[2:] - 1) / j[2:] * b[2:] / b[:-2]
    scaled = mu * width
    correction = -(1 - b[1:-1]) * scaled
    first = rate(y)
    coefficients = jnp.asarray(np.stack([mu, nu, 1 - mu - nu, scaled, correction], axis=1), y.dtype)

    def stage(pair: tuple[Field, Field], row: Float[Array, " 5"]) -> tuple[tuple[Field, Field], None]:
        before, now = pair
        after = row[0] * now + row[1] * before + row[2] * y + step * (row[3] * rate(now) + row[4] * first)
        return (now, after), None

    (_, last), _ = lax.scan(stage, (y, y + (width / 3) * step * first), coefficients)
    return last


@final
class Strang(diffrax.AbstractSolver):
    r"""Half a step of diffusion, one of `solver`, half a step of diffusion: of second order in time."""

    solver: diffrax.AbstractSolver
    diffusion: Callable[[Scalar, Field], Field]
    stages: int = eqx.field(static=True)
    term_structure: ClassVar[Any] = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.LocalLinearInterpolation

    def order(self, terms: PyTree) -> int:
        return 2

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        half = (t1 - t0) / 2

        def diffused(t: Scalar, y: Field) -> Field:
            return runge_kutta_legendre(lambda y: self.diffusion(t, y), y, half, self.stages)

        y1 = diffused(t0 + half / 2, y0)
        y1 = self.solver.step(terms, t0, t1, y1, args, None, made_jump)[0]
        y1 = diffused(t1 - half / 2, y1)
        return y1, None, {"y0": y0, "y1": y1}, None, DIFFRAX_RESULTS.successful
