"""Hopf-Lax: inviscid problems with a convex Hamiltonian, as a minimum over where a path may have started."""

from collections.abc import Callable
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import AbstractEvaluator, Solution
from hjpde._types import Point, Scalar
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import (
    AbstractConvexHamiltonian,
    AbstractHamiltonian,
    Eikonal,
    LinearQuadratic,
    Quadratic,
    Transport,
)
from hjpde.initial_data import (
    Atoms,
    Cones,
    GaussianMixture,
    Norm,
    QuadraticForm,
    SoftMinPlanes,
)

from ._abstract import AbstractSolver
from ._quadratics import solve_quadratics
from ._simplex import project_onto_simplex
from ._whole_space import why_not_whole_space

Envelope = Callable[[Scalar, Point], Scalar]


@final
class HopfLax(AbstractSolver):
    r"""$u(t, x) = \min_y\, g(y) + t\,L((x - y)/t)$ with $L = H^*$, exactly, at $N = 0$.

    - Point masses under every convex `H` that knows its conjugate, $\min_j g_j + t\,L((x - y_j)/t)$, and under
      `LinearQuadratic`.
    - Minima of paraboloids (`GaussianMixture` at temperature 0), and quadratic forms, under `Quadratic` and
      `LinearQuadratic`.
    - Any datum under `Transport` with a constant velocity, $u(t, x) = g(x - tv)$.
    - Minima of cones and norms under `Quadratic()` and (not the norms of order 1 and infinity) `Eikonal`.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 3.3.2, Theorems 4 to 6.

        J. Darbon and T. Meng, *On some neural network architectures that can represent viscosity solutions of
        certain high dimensional Hamilton-Jacobi partial differential equations*, J. Comput. Phys. 425, 2021.
    """

    def why_not(self, problem: InitialValueProblem) -> str | None:
        datum, H = problem.initial_data, problem.hamiltonian
        if (reason := why_not_whole_space(problem)) is not None:
            return reason
        if not isinstance(problem.viscosity, NoViscosity):
            return "there is viscosity (Hopf-Lax needs N = 0)."
        if _as_quadratics(datum) is not None and isinstance(H, Quadratic | LinearQuadratic):
            return None
        if isinstance(datum, Atoms) and isinstance(H, AbstractConvexHamiltonian):
            return None
        if _envelope(datum, H) is not None:
            return None
        if isinstance(datum, Atoms):
            return "the Hamiltonian is not convex with a known conjugate."
        return (
            f"no closed form is known for a {type(datum).__name__} under a {type(H).__name__}; it needs point masses, "
            "minima of paraboloids or of cones, a quadratic form or a norm."
        )

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        datum, H = problem.initial_data, problem.hamiltonian
        name = f"HopfLax, {type(datum).__name__} in closed form"
        quadratics = _as_quadratics(datum)
        if quadratics is not None and isinstance(H, Quadratic | LinearQuadratic):
            return solve_quadratics(quadratics, H, None, ts, normalised=False, solver=name)
        return Solution(HopfLaxEnvelope(datum, H, problem.dim), ts, solver=name)


@final
class HopfLaxEnvelope(AbstractEvaluator):
    """The minimum over the starting points, where it has a closed form."""

    datum: Callable
    hamiltonian: AbstractHamiltonian
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return None if t > 0 else "take `t` > 0; at 0 the value is the datum's"

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        datum, H = self.datum, self.hamiltonian
        if isinstance(datum, Atoms) and isinstance(H, AbstractConvexHamiltonian):
            return jnp.min(datum.heights + t * jax.vmap(H.lagrangian)((x[None] - datum.positions) / t))
        envelope = _envelope(datum, H)
        assert envelope is not None
        return envelope(t, x)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=256)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        del t
        return jnp.zeros((), x.dtype)


def _as_quadratics(datum: Callable) -> Atoms | SoftMinPlanes | GaussianMixture | None:
    """The datum as a hard minimum of quadratic functions, or `None`."""
    if isinstance(datum, QuadraticForm):
        return datum.mixture(0.0)
    if isinstance(datum, SoftMinPlanes | GaussianMixture):
        return datum if datum.hard else None
    return datum if isinstance(datum, Atoms) else None


def _envelope(datum: Callable, H: AbstractHamiltonian) -> Envelope | None:
    """The closed form of the datum's envelope under `Transport`, `Quadratic()` or `Eikonal`, or `None`."""
    if isinstance(H, Transport) and not callable(H.velocity):
        return partial(_carried, datum, H.velocity)
    isotropic = isinstance(H, Quadratic) and H.A is None
    if isinstance(datum, Norm) and datum.order == "2" and (isotropic or isinstance(H, Eikonal)):
        return lambda t, x: _envelope_of_cones(_cone_of(datum, x), H, t, x)
    if isinstance(datum, Norm) and isotropic:
        return partial(_moreau_envelope, datum)
    if isinstance(datum, Cones) and (isotropic or isinstance(H, Eikonal)):
        return lambda t, x: _envelope_of_cones(datum, H, t, x)
    return None


def _carried(datum: Callable, velocity: Float[Array, " d"], t: Scalar, x: Point) -> Scalar:
    return datum(x - t * velocity.astype(x.dtype))


def _cone_of(norm: Norm, x: Point) -> Cones:
    return Cones(jnp.zeros_like(x)[None], jnp.zeros((1,), x.dtype), norm.scale.astype(x.dtype))


def _envelope_of_cones(cones: Cones, H: AbstractHamiltonian, t: Scalar, x: Point) -> Scalar:
    """Each cone alone: Huber's function under `Quadratic()`, a cone cut off or raised under `Eikonal`."""
    offsets, c = x[None] - cones.positions, cones.slopes
    squared = jnp.sum(offsets**2, axis=1)
    at_tip = squared == 0
    r = jnp.where(at_tip, 0, jnp.sqrt(jnp.where(at_tip, 1, squared)))
    if isinstance(H, Eikonal):
        reach = H.speed.astype(x.dtype) * t
        return jnp.min(cones.heights + c * jnp.where(c > 0, jnp.maximum(r - reach, 0), r + reach))
    near = r <= 2 * t * c
    return jnp.min(cones.heights + jnp.where(near, squared / (4 * t), c * r - t * c**2))


def _moreau_envelope(norm: Norm, t: Scalar, x: Point) -> Scalar:
    """Moreau's decomposition: the proximal point is `x` minus its projection onto the dual ball."""
    radius = 2 * t * norm.scale.astype(x.dtype)
    if norm.order == "1":
        shift = jnp.clip(x, -radius, radius)
    else:
        inside = jnp.sum(jnp.abs(x)) <= radius
        shift = jnp.where(inside, x, jnp.sign(x) * project_onto_simplex(jnp.abs(x), radius))
    return norm(x - shift) + shift @ shift / (4 * t)
