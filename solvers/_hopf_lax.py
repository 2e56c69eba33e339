"""Hopf-Lax: inviscid problems with a convex Hamiltonian, as a minimum over where a path may have started."""

from collections.abc import Callable
from functools import partial
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._extremum import least
from hjpde._problem import InitialValueProblem
from hjpde._solution import AbstractEvaluator, Solution
from hjpde._types import Point, Scalar
from hjpde._viscosity import NoViscosity
from hjpde.hamiltonians import (
    AbstractConvexHamiltonian,
    AbstractHamiltonian,
    AbstractMomentumHamiltonian,
    Eikonal,
    LinearQuadratic,
    Quadratic,
    Transport,
)
from hjpde.initial_data import (
    Atoms,
    Cones,
    GaussianMixture,
    MaxPlanes,
    Norm,
    QuadraticForm,
    SoftMinPlanes,
)
from hjpde.solvers.quadratics._quadratics import solve_quadratics
from hjpde.solvers.quadratics._simplex import project_onto_simplex
from hjpde.solvers.saddle._convex_parts import is_known_convex
from hjpde.solvers.saddle._saddle_evaluator import SaddleEvaluator, duality_gap

from ._abstract import AbstractSolver
from ._whole_space import why_not_whole_space

Envelope = Callable[[Scalar, Point], Scalar]


@final
class HopfLax(AbstractSolver):
    r"""$u(t, x) = \min_y\, g(y) + t\,L((x - y)/t)$ with $L = H^*$, at $N = 0$.

    In closed form:

    - Point masses under every convex `H` that knows its conjugate, $\min_j g_j + t\,L((x - y_j)/t)$, and under
      `LinearQuadratic`.
    - Minima of paraboloids (`GaussianMixture` at temperature 0), and quadratic forms, under `Quadratic` and
      `LinearQuadratic`.
    - Any datum under `Transport` with a constant velocity, $u(t, x) = g(x - tv)$.
    - Minima of cones and norms under `Quadratic()` and (not the norms of order 1 and infinity) `Eikonal`.

    By optimisation at each point, in any dimension, for every other datum under every convex $H(p)$, given as a
    member, a `SumOfHamiltonians` or a function. `Solution.certificate` has the value and the duality gap, which bounds
    its error where the datum is convex:

    - `QuadraticForm`, `Norm` of one order, `LogSumExp` and `SumOfData` of the first two: convex, and known to be.
    - A plain function that ends in a minimum, such as one of paraboloids: branch by branch, as the formula is linear
      over minima.
    - A plain function that is a sum over the coordinates, kinks included; that it is one is seen by trial.
    - Any other plain function that is smooth where the paths start: from many starts, until a gap closes, which the
      first does for a convex datum. Where samples show that it is not convex the gap is infinite, and the value is the
      least that was found: never below `u`, and often `u` itself.

    Whether a plain function is convex is tried at samples along rays, so that a closed gap is as good as these. Kinks
    of other plain functions, and of a plain Hamiltonian, are not resolved: where the path ends in one the gap stays
    open, and a value may be NaN. Give them as parts of a sum that know their kinks.

    ??? cite "References"

        L. C. Evans, *Partial Differential Equations*, 2nd ed., AMS, 2010, Section 3.3.2, Theorems 4 to 6.

        J. Darbon and T. Meng, *On some neural network architectures that can represent viscosity solutions of
        certain high dimensional Hamilton-Jacobi partial differential equations*, J. Comput. Phys. 425, 2021.

        J. Darbon and S. Osher, *Algorithms for overcoming the curse of dimensionality for certain Hamilton-Jacobi
        equations arising in control theory and elsewhere*, Res. Math. Sci. 3:19, 2016.
    """

    max_steps: int = eqx.field(static=True)

    def __init__(self, max_steps: int = 200):
        """**Arguments:**

        - `max_steps`: Newton steps of one search, at least 1; closed forms need none.

        **Raises:** `ValueError` if it is less.
        """
        if max_steps < 1:
            raise ValueError(f"`max_steps` must be at least 1, got {max_steps}.")
        self.max_steps = max_steps

    def why_not(self, problem: InitialValueProblem) -> str | None:
        datum, H = problem.initial_data, problem.hamiltonian
        if (reason := why_not_whole_space(problem)) is not None:
            return reason
        if not isinstance(problem.viscosity, NoViscosity):
            return "there is viscosity (Hopf-Lax needs N = 0)."
        if _has_closed_form(datum, H):
            return None
        if isinstance(datum, Atoms):
            return "the Hamiltonian is not convex with a known conjugate."
        unknown = f"no closed form is known for a {type(datum).__name__} under a {type(H).__name__}"
        if isinstance(datum, MaxPlanes) or (isinstance(datum, SoftMinPlanes) and datum.hard):
            return f"{unknown}; planes move by Hopf's formula."
        if not isinstance(H, AbstractMomentumHamiltonian) or H.curvature not in ("convex", "linear"):
            return f"{unknown}, and the minimisation needs a convex Hamiltonian of the co-state alone."
        return None

    def in_closed_form(self, problem: InitialValueProblem) -> bool:
        """Whether the solver applies, and needs no optimisation."""
        return self.why_not(problem) is None and _has_closed_form(problem.initial_data, problem.hamiltonian)

    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        del progress
        datum, H = problem.initial_data, problem.hamiltonian
        name = f"HopfLax, {type(datum).__name__} in closed form"
        quadratics = _as_quadratics(datum)
        if quadratics is not None and isinstance(H, Quadratic | LinearQuadratic):
            return solve_quadratics(quadratics, H, None, ts, normalised=False, solver=name)
        if isinstance(datum, Atoms) or _envelope(datum, H) is not None:
            return Solution(HopfLaxEnvelope(datum, H, problem.dim), ts, solver=name)
        assert isinstance(H, AbstractMomentumHamiltonian)
        evaluator = SaddleEvaluator(datum, H, problem.dim, "Lax", self.max_steps)
        counts, result = duality_gap(evaluator, ts, must_close=is_known_convex(datum))
        return Solution(evaluator, ts, solver="HopfLax by optimisation", counts=counts, result=result)


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
            return least(datum.heights + t * jax.vmap(H.lagrangian)((x[None] - datum.positions) / t))
        envelope = _envelope(datum, H)
        assert envelope is not None
        return envelope(t, x)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=256)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        del t
        return jnp.zeros((), x.dtype)


def _has_closed_form(datum: Callable, H: AbstractHamiltonian) -> bool:
    return (
        (_as_quadratics(datum) is not None and isinstance(H, Quadratic | LinearQuadratic))
        or (isinstance(datum, Atoms) and isinstance(H, AbstractConvexHamiltonian))
        or _envelope(datum, H) is not None
    )


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
        return least(cones.heights + c * jnp.where(c > 0, jnp.maximum(r - reach, 0), r + reach))
    near = r <= 2 * t * c
    return least(cones.heights + jnp.where(near, squared / (4 * t), c * r - t * c**2))


def _moreau_envelope(norm: Norm, t: Scalar, x: Point) -> Scalar:
    """Moreau's decomposition: the proximal point is `x` minus its projection onto the dual ball."""
    radius = 2 * t * norm.scale.astype(x.dtype)
    if norm.order == "1":
        shift = jnp.clip(x, -radius, radius)
    else:
        inside = jnp.sum(jnp.abs(x)) <= radius
        shift = jnp.where(inside, x, jnp.sign(x) * project_onto_simplex(jnp.abs(x), radius))
    return norm(x - shift) + shift @ shift / (4 * t)
