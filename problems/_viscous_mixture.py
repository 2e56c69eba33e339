"""A periodic Gaussian mixture behind the Hopf-Cole transform, in any dimension."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_viscosity
from hjpde.hamiltonians import Quadratic

from ._abstract import AbstractExactProblem

_PERIOD = 4.0
_IMAGES = 5


@final
class ViscousMixture(AbstractExactProblem):
    r"""$H = |p|^2$ and $N = \varepsilon I$ on the torus $[-2, 2)^d$, with $e^{-g/\varepsilon}$ a Gaussian mixture.

    `g` is the soft minimum at temperature $\varepsilon$ of the paraboloids $b_k + \tfrac12 a_k|x - c_k - 4s|^2$, over
    all shifts $s \in \mathbb{Z}^d$. The heat equation keeps a Gaussian one:

    $$e^{-u/\varepsilon} = \sum_{k, s} (1 + 2a_kt)^{-d/2}
      \exp\Bigl(-\frac1\varepsilon\Bigl(b_k + \frac{a_k|x - c_k - 4s|^2}{2(1 + 2a_kt)}\Bigr)\Bigr).$$

    The sum over shifts is a product over axes, cut off at 5 periods: exact to rounding while
    $\varepsilon(1 + 2at)/a \le 4$. For $\varepsilon \to 0$ it tends to `QuadraticMinima`.

    ??? cite "References"

        E. Hopf, *The partial differential equation $u_t + u u_x = \mu u_{xx}$*, Comm. Pure Appl. Math. 3, 1950.
    """

    centres: Float[Array, "K d"]
    curvatures: Float[Array, " K"]
    offsets: Float[Array, " K"]
    viscosity: Scalar

    def __init__(self, viscosity: ScalarLike = 0.1, dim: int = 2, components: int = 6):
        r"""**Arguments:**

        - `viscosity`: $\varepsilon > 0$.
        - `dim`: $d \ge 1$.
        - `components`: their number, at least 1; curvatures in [2, 5], offsets in [0, 0.6].

        **Raises:** `ValueError` if a number is too small.
        """
        if dim < 1 or components < 1:
            raise ValueError(f"`dim` and `components` must be at least 1, got {dim} and {components}.")
        dtype, random = jnp.result_type(float), np.random.default_rng(3)
        self.centres = jnp.asarray(random.uniform(-2, 2, (components, dim)), dtype)
        self.curvatures = jnp.asarray(random.uniform(2, 5, components), dtype)
        self.offsets = jnp.asarray(random.uniform(0, 0.6, components), dtype)
        self.viscosity = positive_viscosity(viscosity, dtype)

    @property
    def problem(self) -> InitialValueProblem:
        ends = np.full(self.centres.shape[1], _PERIOD / 2)
        domain = Domain(-ends, ends, periodic=True)
        return InitialValueProblem(eqx.Partial(self, 0.0), Quadratic(), self.viscosity, domain=domain)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        epsilon, d = self.viscosity.astype(x.dtype), x.shape[0]
        a, b = self.curvatures.astype(x.dtype), self.offsets.astype(x.dtype)
        spread = 1 + 2 * a * jnp.asarray(t, x.dtype)
        offset = x[None, :] - self.centres.astype(x.dtype)
        # From the nearest image outwards, so that the cut is the same everywhere.
        offset = offset - _PERIOD * jax.lax.stop_gradient(jnp.round(offset / _PERIOD))
        shifts = _PERIOD * jnp.arange(-_IMAGES, _IMAGES + 1, dtype=x.dtype)
        squares = (offset[:, :, None] - shifts[None, None, :]) ** 2
        exponents = -squares * (a / (2 * spread * epsilon))[:, None, None]
        per_axis = jax.nn.logsumexp(exponents, axis=2)
        scores = jnp.sum(per_axis, axis=1) - b / epsilon - d / 2 * jnp.log(spread)
        return -epsilon * jax.nn.logsumexp(scores)
