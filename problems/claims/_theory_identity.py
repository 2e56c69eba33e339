"""Claims about the layer as a solution: the identity, the equation that is solved, its constant, its gauge."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from hjpde._log_sum_exp import log_sum_exp
from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.initial_data import LogSumExp

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY

_POSITIONS = np.array([-1.5, -0.5, 0.5, 1.5])
_HEIGHTS = np.array([1.0, 0.3, 0.3, 1.0])
_VISCOSITIES = np.array([1.0, 0.5, 0.2, 0.1, 0.05])


def _grown(X, positions, heights, t, viscosity):
    """The solution grown from point masses, without its constant, from distances alone."""
    squares = ((X[:, None] - positions[None]) ** 2).sum(-1)
    return -viscosity * logsumexp(-(heights + squares / (4 * t)) / viscosity, axis=1)


def _identity_errors(X, positions, heights, t, viscosity):
    """Of f + u = |x|^2/4t, relative to the largest term."""
    weights = positions / (2 * t)
    biases = -heights - (positions**2).sum(1) / (4 * t)
    f = np.asarray(log_sum_exp(X, weights, biases, viscosity))
    u, gauge = _grown(X, positions, heights, t, viscosity), (X**2).sum(1) / (4 * t)
    return np.abs(f + u - gauge) / np.maximum(np.abs(f), np.abs(u)).max()


def _hopf_cole(setting: Setting) -> Evidence:
    x = np.linspace(-2.5, 2.5, 500)[:, None]
    table = [_identity_errors(x, _POSITIONS[:, None], _HEIGHTS, 1.0, eps).max() for eps in _VISCOSITIES]
    rng = np.random.default_rng(0)
    dimensions = (1, 2, 8, 64)
    random = []
    for d in dimensions:
        X, positions, heights = 2 * rng.normal(size=(200, d)), rng.normal(size=(50, d)), rng.normal(size=50)
        random.append(max(_identity_errors(X, positions, heights, t, 0.1).max() for t in (0.25, 1.0, 3.0)))

    def draw(ax):
        tidy(ax)
        ax.loglog(_VISCOSITIES, table, "o-", color=BLUE, label="the source's four points")
        ax.loglog([0.1] * len(dimensions), random, "s", color=ORANGE, label="50 random points, 1 to 64 dimensions")
        ax.set(xlabel="viscosity ε", ylabel="|f + u − |x|²/4t|, relative", ylim=(1e-17, 1e-13))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest difference on the source's table, relative", max(table), 0.0, 1e-12),
            Check("largest difference in 1 to 64 dimensions, relative", max(random), 0.0, 1e-12),
        ),
        draw=draw,
        caption="Layer and solution, computed from planes and from distances, differ by rounding at every viscosity.",
    )


def _residuals(viscosity: float, t: float, d: int, constant: bool, A: np.ndarray, matched: bool = True) -> np.ndarray:
    """Of u_t + p'Ap = eps tr(A D^2 u) by automatic differentiation; unmatched: with eps tr(D^2 u) for the viscosity."""
    rng = np.random.default_rng(d)
    positions, heights, X = (jnp.asarray(rng.normal(size=shape)) for shape in ((20, d), (20,), (30, d)))
    inverse, determinant = jnp.asarray(np.linalg.inv(A)), np.linalg.det(A)

    def u(t, x):
        offsets = x[None] - positions
        squares = ((offsets @ inverse) * offsets).sum(1)
        value = -viscosity * jax.scipy.special.logsumexp(-(heights + squares / (4 * t)) / viscosity)
        normaliser = viscosity * d / 2 * jnp.log(4 * jnp.pi * viscosity * t) + viscosity / 2 * np.log(determinant)
        return value + normaliser if constant else value

    def residual(x):
        p, curvature = jax.grad(u, 1)(t, x), jax.hessian(u, 1)(t, x)
        diffused = jnp.trace(jnp.asarray(A) @ curvature) if matched else jnp.trace(curvature)
        return jax.grad(u)(t, x) + p @ jnp.asarray(A) @ p - viscosity * diffused

    return np.asarray(jax.jit(jax.vmap(residual))(X))


def _equation(setting: Setting) -> Evidence:
    viscosity, t, d = 0.3, 0.7, 3
    bare, normalised = (np.abs(_residuals(viscosity, t, d, constant, np.eye(d))) for constant in (False, True))

    def draw(ax):
        tidy(ax)
        ax.semilogy(bare, "o", color=ORANGE, label="without the constant")
        ax.semilogy(normalised + 1e-17, "s", color=BLUE, label="with (εd/2) log 4πεt")
        ax.axhline(viscosity * d / (2 * t), color=GREEN, linestyle="--", label="εd/2t")
        ax.set(xlabel="random point", ylabel="residual of the equation")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest residual of the source's formula", bare.max(), 0.0, 1e-11),),
        amended=(
            Check("largest residual with the constant", normalised.max(), 0.0, 1e-11),
            Check("residual without it, over εd/2t", float(np.mean(bare)) / (viscosity * d / (2 * t)), 1.0, 1e-11),
        ),
        draw=draw,
        caption="The source's formula misses its equation by εd/2t at every point; the constant repairs it.",
    )


def _anisotropic(setting: Setting) -> Evidence:
    A = np.array([[1.3, 0.4], [0.4, 0.6]])
    matched, unmatched = (np.abs(_residuals(0.4, 0.6, 2, True, A, matched)) for matched in (True, False))

    def draw(ax):
        tidy(ax)
        ax.semilogy(unmatched, "o", color=ORANGE, label="viscosity ε tr D²u")
        ax.semilogy(matched + 1e-17, "s", color=BLUE, label="viscosity ε tr(A D²u)")
        ax.set(xlabel="random point", ylabel="residual of u_t + pᵀAp = viscosity")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest residual with isotropic viscosity", unmatched.max(), 0.0, 1e-11),),
        amended=(Check("largest residual with the viscosity ε tr(A D²u)", matched.max(), 0.0, 1e-11),),
        draw=draw,
        caption="The layer solves the equation of an anisotropic Hamiltonian only with noise in the proportions of A.",
    )


def _semigroup(setting: Setting) -> Evidence:
    positions, heights, viscosity = np.array([-1.0, 0.2, 1.3])[:, None], np.array([0.1, -0.2, 0.3]), 0.3
    x, y = np.linspace(-2, 2, 9), np.linspace(-15, 15, 6001)

    def solution(points, t):
        constant = viscosity / 2 * np.log(4 * np.pi * viscosity * t)
        return _grown(points[:, None], positions, heights, t, viscosity) + constant

    # The trapezoidal rule is exact to rounding for such bells.
    exponents = -(solution(y, 0.4)[None] + (x[:, None] - y[None]) ** 2 / (4 * 0.5)) / viscosity
    constant = viscosity / 2 * np.log(4 * np.pi * viscosity * 0.5)
    again = constant - viscosity * (logsumexp(exponents, axis=1) + np.log(y[1] - y[0]))
    once = solution(x, 0.9)

    def draw(ax):
        tidy(ax)
        ax.plot(x, once, "-", color=BLUE, label="after 0.9")
        ax.plot(x, again, "o", color=ORANGE, label="after 0.4, then 0.5 by quadrature")
        ax.set(xlabel="x", ylabel="u")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest difference of one step and two", np.abs(again - once).max(), 0.0, 1e-12),),
        draw=draw,
        caption="Going on from an intermediate time by the heat kernel leads to the same solution.",
    )


def _gauge(setting: Setting) -> Evidence:
    rng = np.random.default_rng(1)
    layer = LogSumExp(rng.normal(size=(12, 3)), rng.normal(size=12), 0.4)
    X, times = rng.normal(size=(100, 3)), np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    f = np.asarray(layer.batch(X))
    errors = []
    for t in times:
        atoms = layer.atoms(t)
        u = _grown(X, np.asarray(atoms.positions), np.asarray(atoms.heights), t, 0.4)
        errors.append(np.abs(f + u - (X**2).sum(1) / (4 * t)).max() / np.abs(u).max())

    def draw(ax):
        tidy(ax)
        ax.loglog(times, errors, "o-", color=BLUE)
        ax.set(xlabel="gauge time t", ylabel="|f + u − |x|²/4t|, relative", ylim=(1e-17, 1e-13))
        return ax

    return Evidence(
        stated=(Check("times whose equation one layer solves", float(np.sum(np.array(errors) < 1e-12)), 1.0, 0.0),),
        amended=(Check("largest difference over all times, relative", max(errors), 0.0, 1e-12),),
        draw=draw,
        caption="One layer is read as the solution at any time, from other point masses each: no t is singled out.",
    )


IDENTITY = (
    Claim(
        name="theory.layer-is-hopf-cole",
        source=f"{THEORY}, Theorem 4.1",
        statement="A log-sum-exp layer is |x|²/4t minus a Hopf-Cole solution: $f(x) + u(t, x) = |x|²/4t$.",
        computed="f from its planes, u from distances to its point masses, on the source's table and at random.",
        measure=_hopf_cole,
        recorded="holds",
    ),
    Claim(
        name="theory.layer-solves-the-equation",
        source=f"{THEORY}, Section 4",
        statement="The function grown from a layer's point masses solves $u_t + |∇u|² = ε Δu$.",
        computed="The residual by automatic differentiation in t and x.",
        measure=_equation,
        recorded="conditional",
        condition="The constant $(εd/2) log(4πεt)$ is added; without it the residual is −εd/2t everywhere.",
    ),
    Claim(
        name="theory.anisotropic-layer",
        source=f"{THEORY}, scope as told at second hand",
        statement="The layer is exact for anisotropic quadratic Hamiltonians $p^T A p$ too.",
        computed="The residual by automatic differentiation, with viscosity ε tr D²u and with ε tr(A D²u).",
        measure=_anisotropic,
        recorded="conditional",
        condition="The viscosity is ε tr(A D²u): noise in the proportions of the Hamiltonian's own matrix.",
    ),
    Claim(
        name="theory.propagators-compose",
        source=f"{THEORY}, Section 4",
        statement="The forward pass is a propagator: evolving for $t_1$ and then $t_2$ is evolving for $t_1 + t_2$.",
        computed="The solution at 0.4 carried on by the heat kernel with the trapezoidal rule, against that at 0.9.",
        measure=_semigroup,
        recorded="holds",
    ),
    Claim(
        name="theory.which-equation",
        source=f"{THEORY}, project page",
        statement="A trained network already is one Hamilton-Jacobi equation, and the question is which one.",
        computed="The identity of one layer read at five times t from 0.1 to 10.",
        measure=_gauge,
        recorded="fails",
        instead="The time is a gauge: a layer is the solution at every t > 0, each from point masses of its own.",
    ),
)
