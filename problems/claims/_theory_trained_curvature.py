"""Claims about the curvature of layers that were trained, and of random ones of unit length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import softmax

from hjpde._datasets import Dataset, named_dataset
from hjpde._plotting import BLUE, GREEN, ORANGE, tidy

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY

_ABSOLUTE = np.array([0.08, 0.12, 0.20, 0.35, 0.60, 1.0])
_IMAGES = np.array([0.1, 0.3, 1.0, 3.0, 10.0])


def _largest_curvatures(X, W, b, viscosity):
    r"""$\|\mathrm{Cov}_\pi(W)\|_2/\varepsilon$ at each point, from the covariance written out."""
    weights = softmax((X @ W.T + b) / viscosity, axis=1)
    offsets = W[None] - (weights @ W)[:, None]
    covariances = np.swapaxes(offsets * weights[..., None], 1, 2) @ offsets
    return np.linalg.eigvalsh(covariances)[:, -1] / viscosity


@functools.cache
def _trainer(steps, learning_rate, batch):
    """Adam on the mean squared error of `a * LSE(Wx + b) + c` with `a` and `c` trained or not, for many models."""
    optimiser = optax.adam(learning_rate)

    def predicted(parameters, X, viscosity):
        scores = X @ parameters["W"].T + parameters["b"][None]
        layer = viscosity * jax.nn.logsumexp(scores / viscosity, axis=1)
        return parameters["a"] * layer + parameters["c"]

    def one(parameters, head, viscosity, key, X, y):
        def loss(parameters, rows):
            # The head is left as it is where it does not belong to the model.
            fixed = {name: jax.lax.stop_gradient(parameters[name]) for name in ("a", "c")}
            used = parameters if head else parameters | fixed
            return jnp.mean((predicted(used, X[rows], viscosity) - y[rows]) ** 2)

        def step(carry, key):
            parameters, state = carry
            rows = jnp.arange(len(X)) if batch is None else jax.random.randint(key, (batch,), 0, len(X))
            updates, state = optimiser.update(jax.grad(loss)(parameters, rows), state)
            return (optax.apply_updates(parameters, updates), state), None

        start = (parameters, optimiser.init(parameters))
        (parameters, _), _ = jax.lax.scan(step, start, jax.random.split(key, steps))
        error = jnp.mean((predicted(parameters, X, viscosity) - y) ** 2)
        return parameters, jnp.sqrt(error)

    return jax.jit(jax.vmap(one, in_axes=(0, None, 0, 0, None, None)), static_argnums=1)


def _trained(X, y, N, viscosities, seeds, steps, learning_rate, batch, head, scale):
    """Parameters and root mean square errors, leading axes `(viscosities, seeds)`."""
    d, count = X.shape[1], len(viscosities) * seeds
    rng = np.random.default_rng(0)
    start = {
        "W": jnp.asarray(scale * rng.normal(size=(count, N, d))),
        "b": jnp.asarray(0.3 * rng.normal(size=(count, N))),
        "a": jnp.ones(count),
        "c": jnp.zeros(count),
    }
    keys = jax.random.split(jax.random.key(0), count)
    eps = jnp.repeat(jnp.asarray(viscosities), seeds)
    parameters, errors = _trainer(steps, learning_rate, batch)(start, head, eps, keys, jnp.asarray(X), jnp.asarray(y))
    shape = (len(viscosities), seeds)
    return {name: np.asarray(leaf, float).reshape(*shape, *leaf.shape[1:]) for name, leaf in parameters.items()}, (
        np.asarray(errors, float).reshape(shape)
    )


def _absolute_value(setting: Setting) -> Evidence:
    viscosities, seeds = (_ABSOLUTE, 3) if setting.full else (_ABSOLUTE[::2], 1)
    x = np.random.default_rng(1).uniform(-2, 2, (500, 1))
    grid = np.linspace(-2, 2, 4001)[:, None]

    def trained(spread):
        parameters, errors = _trained(x, np.abs(x[:, 0]), 30, viscosities, seeds, 4000, 0.01, None, False, spread)
        measured, bounds = [], []
        for i, (eps, best) in enumerate(zip(viscosities, errors.argmin(axis=1), strict=True)):
            W, b = parameters["W"][i, best], parameters["b"][i, best]
            measured.append(_largest_curvatures(grid, W, b, eps).max())
            bounds.append((W**2).sum(1).max() / eps)
        return np.array(measured), np.array(bounds), errors.min(axis=1)

    measured, bounds, errors = trained(0.5)
    ratios, wide = measured / bounds, np.divide(*trained(1.0)[:2])

    def draw(ax):
        tidy(ax)
        ax.loglog(viscosities, measured, "o", color=BLUE, label="largest curvature, trained")
        ax.loglog(viscosities, bounds, "--", color=ORANGE, label="max |W|²/ε")
        ax.set(xlabel="viscosity ε", ylabel="second derivative")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest curvature over max |W|²/ε", ratios.max(), 1.0, 1e-5, "at most"),
            Check("the least such ratio", ratios.min(), 0.9, 0.005, "at least"),
            Check("the least from slopes of spread 1", wide.min(), 0.9, 0.005, "at least"),
        ),
        amended=(
            Check("largest curvature over max |W|²/ε", ratios.max(), 1.0, 1e-5, "at most"),
            Check("the least such ratio for ε below 0.5", ratios[viscosities < 0.5].min(), 0.9, 0.005, "at least"),
        ),
        draw=draw,
        caption="Fitted to |x|, the layer needs the slopes -1 and 1 and no other: the bound is nearly attained, unless "
        "a neuron that the data do not reach keeps a steep slope.",
        notes="Ratios "
        + ", ".join(f"{ratio:.3f}" for ratio in ratios)
        + ", errors "
        + ", ".join(f"{error:.4f}" for error in errors)
        + f"; from slopes of spread 1 the ratios fall to {wide.min():.2f}.",
    )


def _unit_weights(setting: Setting) -> Evidence:
    viscosities = np.logspace(-1.3, 1, 60 if setting.full else 24)
    rng = np.random.default_rng(0)
    ratios, tails = [], []
    far = np.array([1e3, 1e4])
    for _ in range(10 if setting.full else 4):
        W = rng.normal(size=(40, 8))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        X, b = rng.normal(size=(100, 8)), np.zeros(40)
        ratios.append([_largest_curvatures(X, W, b, eps).mean() * eps for eps in viscosities])
        ends = np.log([_largest_curvatures(X, W, b, eps).mean() for eps in far])
        tails.append((ends[1] - ends[0]) / np.log(far[1] / far[0]))
    ratios = np.array(ratios)

    def draw(ax):
        tidy(ax)
        ax.semilogx(viscosities, ratios.T, color=BLUE, alpha=0.6)
        ax.axhline(1, color=ORANGE, linestyle="--", label="the bound")
        ax.set(xlabel="viscosity ε", ylabel="mean |Hessian| over max |W|²/ε", ylim=(0, 1.05))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest mean |Hessian| over max |W|²/ε", ratios.max(), 1.0, 1e-9, "at most"),
            # The weights of N(0, I) scores of spread 1 differ from equal ones by 1/eps; |x| < 6 in eight dimensions.
            Check("slope of log |Hessian| over log ε for large ε", float(np.mean(tails)), -1.0, 6 / far[0]),
        ),
        draw=draw,
        caption="Random slopes of unit length stay at 5 to 30 % of the bound; for large ε the norm falls as 1/ε.",
        notes=f"The ratio lies from {ratios.min():.2f} to {ratios.max():.2f}.",
    )


def _principal_components(X: np.ndarray, count: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(count, svd_solver="randomized", random_state=0).fit_transform(X)


def _images(dataset: Dataset, components: int, setting: Setting):
    order = np.random.default_rng(0).permutation(len(dataset.X))
    if not setting.full:
        # Of one size for both data sets, which then share a compiled function.
        order, components = order[:1300], 20
    X, y = _principal_components(np.asarray(dataset.X[order], float), components), dataset.y[order].astype(float)
    steps, scale = 5000 if setting.full else 200, 0.1 / components**0.5
    parameters, errors = _trained(X, y, 128, _IMAGES, 1, steps, 0.005, 256, True, scale)
    points = X[: 300 if setting.full else 60]
    measured, bounds = [], []
    for i, eps in enumerate(_IMAGES):
        W, b, a = parameters["W"][i, 0], parameters["b"][i, 0], abs(parameters["a"][i, 0])
        measured.append(a * _largest_curvatures(points, W, b, eps))
        bounds.append(a * (W**2).sum(1).max() / eps)
    return np.array(measured), np.array(bounds), errors[:, 0]


def _image_curves(setting: Setting) -> Evidence:
    digits = named_dataset("digits") if setting.mnist is None else named_dataset("mnist", setting.mnist)
    colours = named_dataset("patches") if setting.cifar10 is None else named_dataset("cifar10", setting.cifar10)
    found = {
        digits.name: _images(digits, 50, setting),
        colours.name: _images(colours, 64, setting),
    }

    def draw(ax):
        tidy(ax)
        for (name, (measured, bounds, _)), colour, marker in zip(found.items(), (BLUE, GREEN), "os", strict=True):
            ax.loglog(_IMAGES, measured.max(1), marker=marker, color=colour, label=f"{name}: largest |Hessian|")
            ax.loglog(_IMAGES, bounds, marker=marker, color=colour, linestyle="--", fillstyle="none", label="its bound")
        ax.set(xlabel="viscosity ε", ylabel="|Hessian| of the fitted label")
        ax.legend(frameon=False, fontsize=8)
        return ax

    return Evidence(
        stated=tuple(
            check
            for name, (measured, bounds, _) in found.items()
            for check in (
                Check(
                    f"largest |Hessian| over its bound, {name}", (measured / bounds[:, None]).max(), 1, 1e-9, "at most"
                ),
                Check(
                    f"largest |Hessian| at ε = 10 over that at 0.1, {name}",
                    measured[-1].max() / measured[0].max(),
                    1.0,
                    0.0,
                    "at most",
                ),
            )
        ),
        draw=draw,
        caption="Layers trained on the label of an image keep the bound at every viscosity.",
        notes="Root mean square errors of the label: "
        + "; ".join(f"{name} " + ", ".join(f"{e:.2f}" for e in errors) for name, (_, _, errors) in found.items())
        + ". Components of the data, as in the source, a label being a number to be fitted.",
    )


TRAINED_CURVATURE = (
    Claim(
        name="theory.trained-curvature-is-tight",
        source=f"{THEORY}, code robustness.py",
        statement=r"Fitted to $|x|$, a layer attains at least 0.9 of the bound $\max_j |W_j|^2/\varepsilon$.",
        computed="Largest curvatures on a fine grid over the bound, at viscosities from 0.08 to 1, best of the seeds.",
        measure=_absolute_value,
        recorded="conditional",
        condition="Slopes start with a spread of 0.5, less than the target's, and the viscosity is below 0.5; neurons "
        "that start steeper, or are not needed at a high viscosity, keep slopes that the fit does not use.",
    ),
    Claim(
        name="theory.curvature-of-unit-weights",
        source=f"{THEORY}, code run_all.py, Experiment 4",
        statement=r"With 40 random unit slopes in $\mathbb{R}^8$ the bound holds, and for large $\varepsilon$ the norm "
        r"of the Hessian falls as $\varepsilon^{-1}$.",
        computed="Norms at random points against the bound, and the slope between viscosities of 1e3 and 1e4.",
        measure=_unit_weights,
        recorded="holds",
    ),
    Claim(
        name="theory.curvature-on-images",
        source=f"{THEORY}, code hessian_mnist.py and hessian_cifar10.py",
        statement=r"Trained on images, $\|\nabla^2 f\|_2$ never exceeds $|a| \max_j |W_j|^2/\varepsilon$, and falls as "
        r"$\varepsilon$ grows.",
        computed="128 neurons on 50 and 64 components, fitted to the label at five viscosities; norms at test points.",
        measure=_image_curves,
        recorded="holds",
    ),
)
