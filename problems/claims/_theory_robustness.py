"""Claims about robustness: bounds on the slope and the curvature of a layer, and how viscosity moves them."""

import numpy as np
from scipy.special import logsumexp, softmax

from hjpde._plotting import BLUE, GREEN, ORANGE, PINK, tidy

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY

_ROUNDING = 1e-9
"""Of complex steps and sums in float64, relative to values of order one; measured at some 1e-13."""


def _value(X, W, b, viscosity):
    return viscosity * logsumexp((X @ W.T + b) / viscosity, axis=1)


def _gradient(X, W, b, viscosity):
    """By a complex step in each coordinate of the value, with no formula for the derivative; shape `(M, d)`."""

    def value(points):
        z = (points @ W.T + b) / viscosity
        top = z.real.max(axis=1, keepdims=True)
        return viscosity * (top[:, 0] + np.log(np.exp(z - top).sum(axis=1)))

    return np.stack([value(X + 1e-30j * step).imag / 1e-30 for step in np.eye(X.shape[1])], axis=1)


def _hessian(X, W, b, viscosity):
    """By a complex step in each coordinate of the mean slope; shape `(M, d, d)`."""

    def slope(points):
        z = (points @ W.T + b) / viscosity
        weights = np.exp(z - z.real.max(axis=1, keepdims=True))
        return (weights @ W) / weights.sum(axis=1, keepdims=True)

    return np.stack([slope(X + 1e-30j * step).imag / 1e-30 for step in np.eye(X.shape[1])], axis=2)


def _norms(X, W, b, viscosity):
    return np.linalg.norm(_hessian(X, W, b, viscosity), 2, axis=(1, 2))


def _layers(count=6, N=20, d=8, M=60):
    """Random layers with points on the boundaries between their two leading neurons, where curvature peaks."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        W, b, X = rng.normal(size=(N, d)), rng.normal(size=N), rng.normal(size=(M, d))
        z = X @ W.T + b
        first, second = np.argsort(-z, axis=1)[:, :2].T
        normal = W[first] - W[second]
        gap = np.take_along_axis(z, first[:, None], 1)[:, 0] - np.take_along_axis(z, second[:, None], 1)[:, 0]
        yield W, b, X - normal * (gap / (normal**2).sum(1))[:, None]


_VISCOSITIES = np.array([0.03, 0.1, 0.3, 1.0, 3.0, 10.0])


def _squared_diameter(W):
    return ((W[:, None] - W[None]) ** 2).sum(-1).max()


def _ratios(bound):
    """The largest curvature over a bound of its own, for each layer and viscosity."""
    return np.array([[(_norms(X, W, b, eps) / bound(W, eps)).max() for eps in _VISCOSITIES] for W, b, X in _layers()])


def _draw_ratios(curves, ylabel):
    def draw(ax):
        tidy(ax)
        for (label, values), colour, marker in zip(curves.items(), (BLUE, ORANGE, GREEN), "osD", strict=False):
            ax.loglog(_VISCOSITIES, values.max(0), marker=marker, color=colour, label=label)
        ax.axhline(1, color=PINK, linestyle="--", label="the bound")
        ax.set(xlabel="viscosity ε", ylabel=ylabel)
        ax.legend(frameon=False)
        return ax

    return draw


def _hessian_bound(setting: Setting) -> Evidence:
    ratios = _ratios(lambda W, eps: (W**2).sum(1).max() / eps)
    return Evidence(
        stated=(Check("largest |Hessian| over max |W|²/ε", ratios.max(), 1.0, _ROUNDING, "at most"),),
        draw=_draw_ratios({"largest of 6 layers, 60 points each": ratios}, "|Hessian| over max |W|²/ε"),
        caption="The bound is never passed; on random layers it is several times too large.",
    )


def _popoviciu(setting: Setting) -> Evidence:
    sharp = _ratios(lambda W, eps: _squared_diameter(W) / (4 * eps))
    source = _ratios(lambda W, eps: (W**2).sum(1).max() / eps)
    W, b, X = next(iter(_layers(1)))
    two = _norms(np.zeros((1, 2)), np.array([[3.0, 1.0], [-1.0, 4.0]]), np.zeros(2), 0.7)[0]
    moved = np.abs(_norms(X, W + 5, b, 0.3) - _norms(X, W, b, 0.3)).max()
    return Evidence(
        stated=(
            Check("largest |Hessian| over diam(W)²/4ε", sharp.max(), 1.0, _ROUNDING, "at most"),
            Check("|Hessian| of two neurons at their tie, over |W1 - W2|²/4ε", two / (25 / (4 * 0.7)), 1.0, _ROUNDING),
            Check("change of |Hessian| by a common slope of all neurons", moved, 0.0, _ROUNDING),
            Check("diam(W)²/4 over max |W|²", _squared_diameter(W) / 4 / (W**2).sum(1).max(), 1.0, 0.0, "at most"),
        ),
        draw=_draw_ratios({"diam(W)²/4ε": sharp, "max |W|²/ε": source}, "largest |Hessian| over the bound"),
        caption="A quarter of the squared diameter is a bound too, attained by two neurons, and never the larger one.",
    )


def _gradient_bound(setting: Setting) -> Evidence:
    ratios = np.array(
        [
            [
                np.linalg.norm(_gradient(X, W, b, eps), axis=1).max() / np.sqrt((W**2).sum(1).max())
                for eps in _VISCOSITIES
            ]
            for W, b, X in _layers()
        ]
    )
    return Evidence(
        stated=(Check("largest |gradient| over max |W|", ratios.max(), 1.0, _ROUNDING, "at most"),),
        draw=_draw_ratios({"largest of 6 layers, 60 points each": ratios}, "|gradient| over max |W|"),
        caption="A gradient is a mean of slopes: it is never longer than the longest, and shrinks as more are mixed.",
    )


def _taylor(setting: Setting) -> Evidence:
    rng = np.random.default_rng(7)
    lengths = np.geomspace(1e-2, 10, 13)
    over = np.zeros((len(_VISCOSITIES), len(lengths)))
    least = np.inf
    for W, b, X in _layers(4):
        for i, eps in enumerate(_VISCOSITIES):
            gradient, value = _gradient(X, W, b, eps), _value(X, W, b, eps)
            for j, length in enumerate(lengths):
                step = rng.normal(size=X.shape)
                step *= length / np.linalg.norm(step, axis=1, keepdims=True)
                remainder = _value(X + step, W, b, eps) - value - (gradient * step).sum(1)
                bound = length**2 * (W**2).sum(1).max() / (2 * eps)
                over[i, j] = max(over[i, j], (np.abs(remainder) / bound).max())
                least = min(least, remainder.min())

    def draw(ax):
        tidy(ax)
        for values, eps, colour, marker in zip(over[::2], _VISCOSITIES[::2], (BLUE, ORANGE, GREEN), "osD", strict=True):
            ax.loglog(lengths, values, marker=marker, color=colour, label=f"ε = {eps:g}")
        ax.axhline(1, color=PINK, linestyle="--", label="the bound")
        ax.set(xlabel="length of the step |r|", ylabel="remainder over |r|² max |W|²/2ε")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest remainder over its bound", over.max(), 1.0, 1e-7, "at most"),
            Check("least remainder (a convex function has none below 0)", least, 0.0, 1e-11, "at least"),
        ),
        draw=draw,
        caption="What a step leaves beside the tangent stays below the bound at every length and viscosity.",
        notes="At a length of 0.01 the remainder is a difference of values of order 10, whose rounding is 1e-7 of it.",
    )


def _peak(W, b, viscosity, x=np.linspace(-12, 12, 4001)):
    """The largest second derivative of a layer on the line."""

    def curvature(x):
        weights = softmax((np.multiply.outer(x, W) + b) / viscosity, axis=-1)
        return (weights @ W**2 - (weights @ W) ** 2) / viscosity

    near = x[np.argmax(curvature(x))] + (x[1] - x[0]) * np.linspace(-1, 1, 501)
    return curvature(near).max()


def _sensitivity(setting: Setting) -> Evidence:
    viscosities = np.geomspace(0.1, 10, 20)
    W, b, _ = next(iter(_layers(1)))
    rng = np.random.default_rng(3)
    inner = rng.normal(size=(40, W.shape[1]))
    pointwise = np.array([_norms(inner, W, b, eps) for eps in viscosities])
    rises = np.diff(pointwise, axis=0) / pointwise[1:]
    lines = [(rng.normal(size=12), rng.normal(size=12)) for _ in range(5)]
    peaks = np.array([[_peak(W, b, eps) for eps in viscosities] for W, b in lines])
    trained_alike = np.array([_norms(inner, eps * W, eps * b, eps).max() / eps for eps in viscosities])

    def draw(ax):
        tidy(ax)
        worst = int(np.argmax(rises.max(0)))
        ax.loglog(viscosities, pointwise[:, worst], "o-", color=ORANGE, markersize=4, label="at one point")
        ax.loglog(viscosities, peaks[0], "s-", color=BLUE, markersize=4, label="largest over all points of a line")
        ax.loglog(viscosities, trained_alike, "D-", color=GREEN, markersize=4, label="W and b grown with ε, over ε")
        ax.set(xlabel="viscosity ε", ylabel="norm of the Hessian", ylim=(1e-6, None))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest relative rise of the curvature at a point between two ε", rises.max(), 0.0, 1e-9, "at most"),
        ),
        amended=(
            Check(
                "the same of the largest curvature over all points, 5 layers",
                (np.diff(peaks, axis=1) / peaks[:, 1:]).max(),
                0.0,
                1e-6,
                "at most",
            ),
            Check(
                "spread over ε of the curvature per ε where weights grow with ε",
                np.ptp(trained_alike) / trained_alike.max(),
                0.0,
                1e-9,
            ),
        ),
        draw=draw,
        caption="Away from a boundary between neurons curvature first rises with ε; its maximum over all inputs falls. "
        "Weights that grow with ε, as training may make them, undo it.",
    )


def _depth(setting: Setting) -> Evidence:
    """Two layers of tanh under a log-sum-exp, along a line; the second derivative by differences of complex steps."""
    rng = np.random.default_rng(0)
    U, c, V, viscosity = rng.normal(size=6), rng.normal(size=6), rng.normal(size=(5, 6)), 0.3
    x = np.linspace(-2, 2, 81)

    def value(x):
        z = np.tanh(np.multiply.outer(x, U) + c) @ V.T / viscosity
        top = z.real.max(-1, keepdims=True)
        return viscosity * (top[..., 0] + np.log(np.exp(z - top).sum(-1)))

    def first(x):
        return value(x + 1e-30j).imag / 1e-30

    h = 1e-3
    second = (-first(x + 2 * h) + 8 * first(x + h) - 8 * first(x - h) + first(x - 2 * h)) / (12 * h)
    t = np.tanh(np.multiply.outer(x, U) + c)
    z, dz, ddz = t @ V.T, ((1 - t**2) * U) @ V.T, (-2 * t * (1 - t**2) * U**2) @ V.T
    weights = softmax(z / viscosity, axis=1)
    bend = (weights * ddz).sum(1)
    spread = ((weights * dz**2).sum(1) - (weights * dz).sum(1) ** 2) / viscosity

    def draw(ax):
        tidy(ax)
        ax.plot(x, second, color=BLUE, linewidth=3, alpha=0.5, label="f'' by differences")
        ax.plot(x, bend + spread, "k.", markersize=3, label="E[z''] + Var[z']/ε")
        ax.plot(x, bend, color=ORANGE, linestyle="--", label="E[z'']")
        ax.plot(x, spread, color=GREEN, linestyle=":", label="Var[z']/ε")
        ax.set(xlabel="x", ylabel="second derivative")
        ax.legend(frameon=False)
        return ax

    # The difference to those of order 2 is more than the error.
    error = np.abs(second - (first(x + h) - first(x - h)) / (2 * h)).max()
    return Evidence(
        stated=(
            Check("largest difference of f'' and E[z''] + Var[z']/ε", np.abs(second - bend - spread).max(), 0.0, error),
        ),
        draw=draw,
        caption="In depth a term for the bending of the scores joins the variance of their slopes; it may be negative.",
    )


def _dominance(setting: Setting) -> Evidence:
    rng = np.random.default_rng(5)
    gaps, excesses, N = [], [], 50
    over = least = 0.0
    for eps in (0.01, 0.1, 1.0, 10.0):
        z = np.sort(rng.normal(size=(2000, N)) * rng.uniform(0.1, 10, (2000, 1)), axis=1).astype(np.longdouble)
        excess = eps * np.log(np.exp((z - z[:, -1:]) / eps).sum(1))
        gap = z[:, -1] - z[:, -2]
        bound = eps * np.log1p((N - 1) * np.exp(-gap / eps))
        over, least = max(over, float((excess - bound).max())), min(least, float(excess.min()))
        gaps.append(np.asarray(gap / eps, float))
        excesses.append(np.asarray(excess / eps, float))
    tie = np.concatenate([np.zeros(N - 1), [0.4]])
    attained = (np.log(np.exp(tie / 0.1).sum()) - 4.0) / np.log1p((N - 1) * np.exp(-4.0))

    def draw(ax):
        tidy(ax)
        ax.plot(np.concatenate(gaps), np.concatenate(excesses), ".", color=BLUE, markersize=2, label="random scores")
        t = np.linspace(0, 12, 100)
        ax.plot(t, np.log1p((N - 1) * np.exp(-t)), color=ORANGE, label="log(1 + (N−1) exp(−Δ/ε))")
        ax.axvline(np.log(N), color=GREEN, linestyle="--", label="log N")
        ax.set(xlabel="gap of the two leading scores Δ/ε", ylabel="(f − max z)/ε", xlim=(0, 12))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest excess of f - max z over its bound", over, 0.0, 1e-12, "at most"),
            Check("least f - max z", least, 0.0, 1e-15, "at least"),
            Check("f - max z over the bound where all others tie", attained, 1.0, 1e-12),
        ),
        draw=draw,
        caption="Beyond a gap of ε log N one neuron carries the value; the bound is attained where all others tie.",
    )


ROBUSTNESS = (
    Claim(
        name="theory.hessian-bound",
        source=f"{THEORY}, Corollary 8.2",
        statement=r"$\|\nabla^2 f\|_2 \le \max_j |W_j|^2/\varepsilon$ for a log-sum-exp layer.",
        computed="Hessians by complex steps of random layers, at boundaries between neurons, over the bound.",
        measure=_hessian_bound,
        recorded="holds",
    ),
    Claim(
        name="theory.hessian-bound-by-diameter",
        source=f"{THEORY}, Corollary 8.2, sharpened here by Popoviciu's inequality",
        statement=r"$\|\nabla^2 f\|_2 \le \mathrm{diam}(W)^2/4\varepsilon$, whatever slope all neurons share.",
        computed="The same Hessians over this bound; two neurons at their tie; layers with a common slope added.",
        measure=_popoviciu,
        recorded="holds",
    ),
    Claim(
        name="theory.gradient-bound",
        source=f"{THEORY}, Section 8",
        statement=r"$|\nabla f| \le \max_j |W_j|$.",
        computed="Gradients by complex steps of random layers, over the bound.",
        measure=_gradient_bound,
        recorded="holds",
    ),
    Claim(
        name="theory.taylor-remainder",
        source=f"{THEORY}, Section 8",
        statement=r"$|f(x + r) - f(x) - \nabla f \cdot r| \le |r|^2 \max_j |W_j|^2/2\varepsilon$.",
        computed="Remainders of steps of length 0.01 to 10 in random directions, over the bound.",
        measure=_taylor,
        recorded="holds",
    ),
    Claim(
        name="theory.viscosity-and-sensitivity",
        source=f"{THEORY}, Section 8",
        statement=r"Raising $\varepsilon$ monotonically reduces the sensitivity to the input.",
        computed="The norm of the Hessian over a range of viscosities: at points, and its largest value over a line.",
        measure=_sensitivity,
        recorded="conditional",
        condition="The weights stay fixed, and sensitivity is the largest curvature over all inputs; at one input it "
        "may rise, and weights that are trained anew may grow with the viscosity.",
    ),
    Claim(
        name="theory.curvature-in-depth",
        source=f"{THEORY}, Section 8 and project page",
        statement=r"At any depth $f'' = \mathbb{E}_\pi[z''] + \mathrm{Var}_\pi[z']/\varepsilon$ along a line.",
        computed="The second derivative by differences of complex steps, against the two terms in closed form.",
        measure=_depth,
        recorded="holds",
    ),
    Claim(
        name="theory.hallucination-bound",
        source=f"{THEORY}, Section 8, remark",
        statement=r"$0 \le f - z_{\max} \le \varepsilon\log(1 + (N-1) e^{-\Delta/\varepsilon})$, with the gap $\Delta$ "
        "of the two leading scores.",
        computed="8,000 rows of 50 random scores in extended precision, against the bound; the case that attains it.",
        measure=_dominance,
        recorded="holds",
    ),
)
