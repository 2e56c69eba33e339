r"""The Hopf-Cole integral of any datum, $u = -\varepsilon \log \int e^{-(g(y) + K_t(x, y))/\varepsilon}\,dy$.

`K` is the solution grown from one point mass at `y`. In one to three dimensions the integral is a quadrature in polar
coordinates about the minimiser of the exponent, where a kink of `g` most often sits; above, importance sampling.
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.initial_data import Atoms

from ._quadratics import MovedQuadratics

_RADII = {1: 512, 2: 128, 3: 96}
_ANGLES_2D = 96
_POLAR_3D, _AZIMUTH_3D = 24, 48
_RADIAL_RANGE = (-3.7, 3.7)
"""Where exp(s - exp(-s)) runs from 1e-19 to 39 standard deviations: enough for tails that are only exponential."""


@final
class HopfColeIntegral(AbstractEvaluator):
    """A datum without a closed form; the rule is chosen by the dimension of the point."""

    datum: Callable
    hamiltonian: AbstractHamiltonian
    viscosity: Scalar
    key: PRNGKeyArray
    n_samples: int = eqx.field(static=True)
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return "take `t` > 0; at 0 the value is the datum's" if t <= 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        exponents = self._log_terms(t, x)
        return -self.viscosity.astype(x.dtype) * jax.nn.logsumexp(exponents)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=32)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """Sampling: the standard error. Quadrature: the difference to the rule with every other node."""
        viscosity, terms = self.viscosity.astype(x.dtype), self._log_terms(t, x)
        if x.shape[0] > 3:
            weights = jnp.exp(terms - jnp.max(terms))
            return viscosity * jnp.std(weights) / (jnp.mean(weights) * jnp.sqrt(weights.shape[0]))
        coarse = terms[:, ::2] if x.shape[0] == 1 else terms[::2, ::2]
        gained = jnp.log(terms.size / coarse.size)
        return viscosity * jnp.abs(jax.nn.logsumexp(coarse) + gained - jax.nn.logsumexp(terms))

    def _log_terms(self, t: Scalar, x: Point) -> Float[Array, "..."]:
        """The logarithms of weight times integrand, over the nodes or the samples."""
        if jax.eval_shape(self.datum, x).shape != ():
            raise ValueError(
                f"`initial_data` must map a point of shape {x.shape} to a scalar, got shape "
                f"{jax.eval_shape(self.datum, x).shape}."
            )
        viscosity = self.viscosity.astype(x.dtype)

        kernel = self._kernel(t, x)

        def exponent(y: Point) -> Scalar:
            return self.datum(y) + kernel(y)

        # The nodes may lie anywhere: derivatives are those of the integrand at nodes that stand still.
        foot, prior, centre, spread = jax.lax.stop_gradient(
            _laplace(_constant(self.datum), _constant(kernel), jax.lax.stop_gradient(viscosity))  # pyright: ignore
        )
        if x.shape[0] > 3:
            return self._samples(exponent, foot, prior, centre, spread)
        nodes, log_weights = _polar_rule(x.shape[0], x.dtype)
        values = jax.vmap(jax.vmap(lambda z: exponent(centre + spread @ z)))(nodes)
        return log_weights + jnp.linalg.slogdet(spread)[1] - values / viscosity

    def _kernel(self, t: Scalar, x: Point) -> "_Kernel":
        def grown(y: Point) -> Scalar:
            point_mass = Atoms(y[None], jnp.zeros((1,), y.dtype))
            never = jnp.asarray(jnp.inf, y.dtype)
            viscosity = self.viscosity.astype(y.dtype)
            return MovedQuadratics(point_mass, self.hamiltonian, viscosity, never, normalised=True)(t, x)

        start = jax.lax.stop_gradient(x)
        stiffness = jax.hessian(grown)(start)
        foot = start - jnp.linalg.solve(stiffness, jax.grad(grown)(start))
        return _Kernel(stiffness, foot, grown(foot))

    def _samples(
        self,
        exponent: Callable[[Point], Scalar],
        foot: Point,
        prior: Float[Array, "d d"],
        centre: Point,
        spread: Float[Array, "d d"],
    ) -> Float[Array, " n"]:
        """Half from Student's distribution at the minimiser, half from the heat kernel, which bounds the weights."""
        half, d, freedom = self.n_samples // 2, foot.shape[0], 4.0
        normal_key, tail_key = jr.split(self.key)
        z = jr.normal(normal_key, (2, half, d), foot.dtype)
        tails = jnp.sqrt(freedom / jr.chisquare(tail_key, freedom, (half, 1), foot.dtype))
        points = jnp.concatenate([centre[None] + tails * z[0] @ spread.T, foot[None] + z[1] @ prior.T])

        def squared_distances(mean: Point, scale: Float[Array, "d d"]) -> Float[Array, " n"]:
            return jnp.sum(jnp.linalg.solve(scale, (points - mean[None]).T) ** 2, axis=0)

        student = -(freedom + d) / 2 * jnp.log1p(squared_distances(centre, spread) / freedom)
        student += gammaln((freedom + d) / 2) - gammaln(freedom / 2) - d / 2 * jnp.log(freedom * jnp.pi)
        student -= jnp.linalg.slogdet(spread)[1]
        normal = -squared_distances(foot, prior) / 2 - d / 2 * jnp.log(2 * jnp.pi) - jnp.linalg.slogdet(prior)[1]
        proposal = jnp.logaddexp(student, normal) - jnp.log(2.0)
        values = jax.vmap(exponent)(points)
        return -values / self.viscosity.astype(values.dtype) - proposal - jnp.log(2.0 * half)


class _Kernel(eqx.Module):
    """The solution grown from one point mass, as a function of where it sat: a parabola about its foot."""

    stiffness: Float[Array, "d d"]
    foot: Point
    least: Scalar

    def __call__(self, y: Point) -> Scalar:
        offset = y - self.foot
        return self.least + offset @ self.stiffness @ offset / 2


def _constant(function: Callable) -> Callable:
    """The same function, whose own arrays are not differentiated."""
    arrays, rest = eqx.partition(function, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def _laplace(
    datum: Callable, kernel: _Kernel, viscosity: Scalar
) -> tuple[Point, Float[Array, "d d"], Point, Float[Array, "d d"]]:
    """The kernel's mean and root covariance, and those of a Gaussian at the exponent's minimiser."""
    foot, d = kernel.foot, kernel.foot.shape[0]
    root = jnp.linalg.inv(jnp.linalg.cholesky(kernel.stiffness)).T

    def whitened(z: Point, args: None = None) -> Scalar:
        del args
        y = foot + root @ z
        return datum(y) + kernel(y)

    centre = _minimiser(whitened, jnp.sqrt(viscosity), jnp.zeros_like(foot))
    curvature = jax.hessian(whitened)(centre)
    curvature = jnp.where(jnp.all(jnp.isfinite(curvature)), curvature, jnp.eye(d, dtype=foot.dtype))
    axes = jnp.linalg.eigh((curvature + curvature.T) / 2)[1]
    widths = jax.vmap(lambda axis: _width(whitened, centre, axis, viscosity))(axes.T)
    return foot, jnp.sqrt(viscosity) * root, foot + root @ centre, root @ (axes * widths[None]) @ axes.T


def _width(f: Callable, centre: Point, axis: Point, viscosity: Scalar) -> Scalar:
    r"""Half the distance at which `f` has risen by $2\varepsilon$: a Gaussian's standard deviation, good for kinks."""

    def risen(r: Scalar) -> Bool[Array, ""]:
        rise = (f(centre + r * axis) + f(centre - r * axis)) / 2 - f(centre)
        return ~(rise < 2 * viscosity)

    def halve(_, bracket: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bracket
        middle = jnp.sqrt(low * high)
        return jnp.where(risen(middle), low, middle), jnp.where(risen(middle), middle, high)

    # The kernel alone has risen by 2 eps at two of its standard deviations, which are sqrt(eps) here.
    unit = jnp.sqrt(viscosity)
    low, high = jax.lax.fori_loop(0, 30, halve, (1e-6 * unit, 8 * unit))
    return jnp.sqrt(low * high) / 2


def _minimiser(f: Callable, scale: Scalar, start: Point) -> Point:
    """The best of several starts, improved by BFGS: the exponent of a datum that is not convex has many minima."""
    slope = jax.grad(f)(start)
    reach = jnp.maximum(scale, jnp.linalg.norm(jnp.where(jnp.isfinite(slope), slope, 0)))
    axes = jnp.eye(start.shape[0], dtype=start.dtype)
    rays = jnp.concatenate([axes, -axes, -slope[None] / (reach + jnp.finfo(start.dtype).tiny)])
    lengths = reach * jnp.asarray([0.5, 1.0, 2.0, 4.0, 8.0], start.dtype)
    starts = jnp.concatenate([start[None], (lengths[:, None, None] * rays[None]).reshape(-1, start.shape[0])])
    values = jax.vmap(f)(starts)
    best = starts[jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf))]
    found = optx.minimise(f, optx.BFGS(rtol=1e-6, atol=1e-6), best, max_steps=200, throw=False).value
    return jnp.where(jnp.all(jnp.isfinite(found)) & (f(found) <= f(best)), found, best)


def _polar_rule(d: int, dtype: jnp.dtype) -> tuple[Float[Array, "angles radii d"], Float[Array, "angles radii"]]:
    r"""Nodes and log-weights of $\int_{\mathbb{R}^d} f(z)\,dz$ for `f` of unit scale.

    Along each ray $r = \exp(s - e^{-s})$, trapezoidal in `s`: doubly exponential at 0, so that a kink or a peak at
    the centre costs nothing (H. Takahasi and M. Mori, Publ. RIMS 9, 1974).
    """
    s = np.linspace(*_RADIAL_RANGE, _RADII[d])
    r = np.exp(s - np.exp(-s))
    log_radial = np.log(s[1] - s[0]) + np.log(r) + np.log1p(np.exp(-s)) + (d - 1) * np.log(r)
    directions, weights = _sphere_rule(d)
    nodes = directions[:, None, :] * r[None, :, None]
    return jnp.asarray(nodes, dtype), jnp.asarray(np.log(weights)[:, None] + log_radial[None, :], dtype)


def _sphere_rule(d: int) -> tuple[Float[np.ndarray, "angles d"], Float[np.ndarray, " angles"]]:
    if d == 1:
        return np.asarray([[1.0], [-1.0]]), np.ones(2)
    n = _ANGLES_2D if d == 2 else _AZIMUTH_3D
    angles = 2 * np.pi * (np.arange(n) + 0.5) / n
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if d == 2:
        return circle, np.full(n, 2 * np.pi / n)
    z, weights = np.polynomial.legendre.leggauss(_POLAR_3D)
    equator = np.sqrt(1 - z**2)[:, None, None] * circle[None]
    directions = np.concatenate([equator, np.broadcast_to(z[:, None, None], (_POLAR_3D, n, 1))], axis=2)
    return directions.reshape(-1, 3), np.repeat(weights * 2 * np.pi / n, n)
