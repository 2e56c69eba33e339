"""Claims about the initial data in a layer's weights: how they evolve, sum over paths, and move in training."""

import jax
import jax.numpy as jnp
import numpy as np

from hjpde._log_sum_exp import log_sum_exp
from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.initial_data import LogSumExp

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY
from ._written_out import relative_gap


def _initial_data(setting: Setting) -> Evidence:
    rng = np.random.default_rng(2)
    weights, biases, viscosity, t = rng.normal(size=6), rng.normal(size=6), 0.3, 0.5
    x = np.linspace(-2, 2, 11)
    nodes, masses = np.polynomial.hermite_e.hermegauss(80)
    y = x[:, None] + np.sqrt(2 * viscosity * t) * nodes[None]
    layer = viscosity * np.logaddexp.reduce((y[..., None] * weights + biases) / viscosity, axis=-1)
    heated = -viscosity * np.log((np.exp(layer / viscosity) * masses).sum(1) / masses.sum())
    shifted = -np.asarray(log_sum_exp(x[:, None], weights[:, None], biases + t * weights**2, viscosity))

    def draw(ax):
        tidy(ax)
        ax.plot(
            x, -viscosity * np.logaddexp.reduce((x[:, None] * weights + biases) / viscosity, axis=1), "--", color=GREEN
        )
        ax.plot(x, shifted, "-", color=BLUE, label="biases + t|W|²")
        ax.plot(x, heated, "o", color=ORANGE, label="heat flow by quadrature")
        ax.set(xlabel="x", ylabel="v (dashed: at t = 0)")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest gap to the heat flow, relative", relative_gap(shifted, heated), 0.0, 1e-12),),
        draw=draw,
        caption="Minus the layer is itself initial data: time adds t|W|² to the biases, as quadrature confirms.",
    )


def _paths(setting: Setting) -> Evidence:
    rng = np.random.default_rng(3)
    # Steep planes at a small viscosity would make a mean of heavy tails, whose standard error says nothing.
    weights, biases, viscosity, t = 0.5 * rng.normal(size=(5, 2)), rng.normal(size=5), 1.0, 0.4
    X, count = rng.normal(size=(6, 2)), 2_000_000 if setting.full else 200_000
    ends = np.sqrt(2 * viscosity * t) * rng.normal(size=(count, 2))
    exact = -np.asarray(log_sum_exp(X, weights, biases + t * (weights**2).sum(1), viscosity))
    means, errors = [], []
    for x in X:
        weight = np.exp((x + ends) @ weights.T / viscosity + biases / viscosity).sum(1)
        means.append(-viscosity * np.log(weight.mean()))
        errors.append(viscosity * weight.std() / weight.mean() / np.sqrt(count))
    off = np.abs(np.array(means) - exact) / np.array(errors)

    def draw(ax):
        tidy(ax)
        bars = 2 * np.array(errors)
        ax.errorbar(np.arange(len(X)), np.array(means) - exact, yerr=bars, fmt="o", color=BLUE, capsize=3)
        ax.axhline(0, color=ORANGE, linestyle="--")
        ax.set(xlabel="random point", ylabel="mean over paths − closed form (bars: 2 s.e.)")
        return ax

    return Evidence(
        stated=(Check("largest difference, in standard errors", off.max(), 0.0, 4.0),),
        draw=draw,
        caption=f"A mean over {count:,} Brownian paths and the layer with shifted biases agree within their error.",
    )


def _descent(setting: Setting) -> Evidence:
    rng = np.random.default_rng(4)
    weights, biases, viscosity, t = rng.normal(size=(6, 2)), rng.normal(size=6), 0.5, 0.7
    X, y = rng.normal(size=(40, 2)), rng.normal(size=40)

    def loss(weights, biases):
        scores = X @ weights.T + biases
        # A shift by a constant keeps this analytic, for the complex step.
        top = scores.real.max(1, keepdims=True)
        f = top[:, 0] + viscosity * np.log(np.exp((scores - top) / viscosity).sum(1))
        return ((f - y) ** 2).mean(), f

    _, f = loss(weights, biases)
    scores = X @ weights.T + biases
    gibbs = np.exp((scores - f[:, None]) / viscosity)
    residual = 2 * (f - y) / len(y)
    formulas = np.concatenate([(gibbs.T @ (residual[:, None] * X)).ravel(), gibbs.T @ residual])
    stepped, flat = [], np.concatenate([weights.ravel(), biases])
    for k in range(flat.size):
        moved = flat + 1e-30j * np.eye(flat.size)[k]
        stepped.append(loss(moved[:12].reshape(6, 2), moved[12:])[0].imag / 1e-30)
    rates = 10.0 ** -np.arange(1, 5)
    remainders = []
    for rate in rates:
        dW, db = -rate * formulas[:12].reshape(6, 2), -rate * formulas[12:]
        before = LogSumExp(weights, biases, viscosity).atoms(t)
        after = LogSumExp(weights + dW, biases + db, viscosity).atoms(t)
        first_order = -db - 2 * t * (weights * dW).sum(1)
        remainders.append(np.abs(np.asarray(after.heights) - np.asarray(before.heights) - first_order).max())
    slope = np.polyfit(np.log(rates), np.log(remainders), 1)[0]

    def draw(ax):
        tidy(ax)
        ax.loglog(rates, remainders, "o-", color=BLUE, label="remainder of dg = −db − 2t W·dW")
        ax.loglog(rates, remainders[0] * (rates / rates[0]) ** 2, "--", color=ORANGE, label="slope 2")
        ax.set(xlabel="learning rate", ylabel="height not told by the first order")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check(
                "gradient by Gibbs weights, complex step",
                relative_gap(formulas, np.array(stepped)),
                0.0,
                1e-12,
            ),
            Check("order of the remainder of the heights' step", slope, 2.0, 0.05),
        ),
        draw=draw,
        caption="A step of gradient descent moves point masses as the dictionary says, up to the square of the step.",
    )


def _tau(setting: Setting) -> Evidence:
    k = jnp.array([-1.1, -0.4, 0.3, 0.9])

    def log_tau(x, y, s):
        return jax.scipy.special.logsumexp(k * x + k**2 * y + k**3 * s)

    def derivative(f, *axes):
        for axis in axes:
            f = jax.grad(f, axis)
        return f

    def u(x, y, s):
        return 2 * derivative(log_tau, 0, 0)(x, y, s)

    def terms(point):
        x, y, s = point

        def inner(x, y, s):
            nonlinear = 6 * u(x, y, s) * derivative(u, 0)(x, y, s)
            return -4 * derivative(u, 2)(x, y, s) + nonlinear + derivative(u, 0, 0, 0)(x, y, s)

        return derivative(inner, 0)(x, y, s), 3 * derivative(u, 1, 1)(x, y, s)

    points = jnp.asarray(np.random.default_rng(5).normal(size=(20, 3)))
    along, across = (np.asarray(term) for term in jax.jit(jax.vmap(terms))(points))
    residual = np.abs(along + across)

    def draw(ax):
        tidy(ax)
        ax.plot(along, "o", color=BLUE, label="(−4u_s + 6uu_x + u_xxx)_x")
        ax.plot(-across, "x", color=ORANGE, label="−3u_yy")
        ax.set(xlabel="random point", ylabel="term of the equation")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("residual over the largest term", residual.max() / np.abs(across).max(), 0.0, 1e-10),),
        draw=draw,
        caption="Both parts of the Kadomtsev-Petviashvili equation cancel for twice the curvature of a layer in 1-D.",
    )


INITIAL_DATA = (
    Claim(
        name="theory.weights-are-initial-data",
        source=f"{THEORY}, abstract; J. Darbon, G. P. Langlois and T. Meng, Res. Math. Sci. 7:20 (2020)",
        statement="The initial condition is encoded in the weights: −f evolves by adding $t|W_j|²$ to the biases.",
        computed="Shifted biases against the heat flow of exp(f/ε) by Gauss-Hermite quadrature.",
        measure=_initial_data,
        recorded="holds",
    ),
    Claim(
        name="theory.path-integral",
        source=f"{THEORY}, Appendix A",
        statement="The forward pass is a sum over paths with positive weights (Feynman-Kac), ε in the place of ħ.",
        computed="A mean over Brownian paths against the layer with shifted biases, in standard errors.",
        measure=_paths,
        recorded="holds",
    ),
    Claim(
        name="theory.descent-moves-initial-data",
        source=f"{THEORY}, Appendix D",
        statement="A gradient step moves the initial data: $dy_j = 2t dW_j$ and $dg_j = −db_j − 2t W_j·dW_j$, with "
        "gradients weighted by the Gibbs weights.",
        computed="Gradients of a mean square against the complex step; the order of what the first order leaves out.",
        measure=_descent,
        recorded="holds",
    ),
    Claim(
        name="theory.tau-function",
        source=f"{THEORY}, Appendix M (title only seen)",
        statement="Networks are tau functions: the layer $log Σ exp(k_j x + k_j² y + k_j³ s)$ gives a solution "
        "$u = 2 ∂_x² log τ$ of the Kadomtsev-Petviashvili equation.",
        computed="Both parts of the equation by six nested derivatives, at random points.",
        measure=_tau,
        recorded="holds",
    ),
)
