"""Claims about rates of trained layers: generalisation, scaling with width, double descent."""

import jax.numpy as jnp
import numpy as np

from hjpde.analysis import generalisation_rate, interpolation_sweep, plot_interpolation_sweep, plot_rates, width_scaling

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY


def _cone(x):
    return jnp.sqrt(jnp.sum(x**2))


def _valley(x):
    """Lipschitz, and not convex: the distance from the unit sphere."""
    return jnp.abs(_cone(x) - 1)


def _half(fit) -> float:
    """Half the length of the confidence interval: the error of the exponent."""
    return (fit.high - fit.low) / 2


def _generalisation(setting: Setting) -> Evidence:
    sizes = (64, 128, 256, 512, 1024) if setting.full else (32, 64, 128, 256)
    repeats, steps = (4, 1000) if setting.full else (6, 500)
    cases = {"one layer, |x|": (_cone, 1), "one layer, ||x| − 1|": (_valley, 1), "two layers, ||x| − 1|": (_valley, 2)}
    dimensions = (1, 2) if setting.full else (1,)
    fits = {
        (name, d): generalisation_rate(target, d, sizes, layers=layers, repeats=repeats, steps=steps)
        for d in dimensions
        for name, (target, layers) in cases.items()
    }
    amended = [
        Check(f"d = {d}, {name}: exponent", fit.exponent, -1 / (d + 2), _half(fit), "at most")
        for (name, d), fit in fits.items()
        if name != "one layer, ||x| − 1|"
    ]
    stalled = fits["one layer, ||x| − 1|", 1]
    return Evidence(
        stated=(
            Check(
                "d = 1, one layer on a target that is not convex", stalled.exponent, -1 / 3, _half(stalled), "at most"
            ),
        ),
        amended=tuple(amended),
        draw=lambda ax: plot_rates(
            {name: fit for (name, d), fit in fits.items() if d == 1},
            ax,
            expected={"two layers, ||x| − 1|": -1 / 3},
            size="number of samples n",
            error="root mean square error",
        ),
        caption="One layer is convex: faster than the minimax rate on a convex target, stuck on another. A difference "
        "of two falls at least as fast as the rate (dotted).",
        notes="Noise 0.3; N = n^(d/(d+2)) neurons at ε = n^(−1/(d+2)); all draws trained side by side by Adam.",
    )


def _width_scaling(setting: Setting) -> Evidence:
    if setting.full:
        fits = width_scaling(_cone, 1, (10, 18, 32, 56, 100), samples=400, seeds=2, steps=2000, learning_rate=0.01)
    else:
        fits = width_scaling(_cone, 1, (4, 6, 8, 12, 16, 24), samples=64)
    tied, fixed, narrow = fits["tied"], fits["fixed"], fits["narrow"]
    return Evidence(
        stated=(
            Check("ε = 1/N: exponent", tied.exponent, -1.0, _half(tied), "at most"),
            Check("ε = 0.1 at every width: exponent", fixed.exponent, -1.0, _half(fixed), "at most"),
        ),
        amended=(
            Check("two neurons at ε = 1/N: exponent", narrow.exponent, -1.0, _half(narrow), "at most"),
            Check("no slower than all neurons", narrow.exponent, tied.exponent, _half(narrow) + _half(tied), "at most"),
            Check("ε = 0.1 at every width: no fall", fixed.exponent, 0.0, _half(fixed), "at least"),
        ),
        draw=lambda ax: plot_rates(
            {
                "ε = 1/N": tied, "ε = 0.1": fixed, "ε trained": fits["trained"], "2 neurons, ε = 1/N": narrow
            },
            ax, expected={"ε = 1/N": -1.0}, error="root mean square error",
        ),
        caption="The error follows the viscosity: two neurons at ε = 1/N fall as all N do, and at a fixed ε width adds "
        "nothing.",
        notes=f"Target |x| in one dimension; with ε trained the exponent is {fits['trained']}.",
    )  # fmt: skip


def _double_descent(setting: Setting) -> Evidence:
    if setting.full:
        sweep = interpolation_sweep(
            _valley, 2, (2, 3, 4, 6, 7, 8, 12, 16, 32, 64), samples=42, noise=0.5, seeds=6, steps=4000
        )
    else:
        sweep = interpolation_sweep(_valley, 2, (2, 3, 4, 6, 8, 12), samples=24, noise=0.5, seeds=4, steps=2000)
    at_threshold = int(np.flatnonzero(sweep.parameters == sweep.samples)[0])
    error = sweep.test_error.mean(axis=0)
    bend, shocks = sweep.error_with_curvature, sweep.error_with_shocks
    return Evidence(
        stated=(
            Check(
                "test error of the widest over that at the threshold",
                error[-1] / error[at_threshold],
                1.0,
                0.0,
                "at most",
            ),
        ),
        amended=(Check("rank correlation of error and largest curvature: lower end", bend.low, 0.0, 0.0, "at least"),),
        draw=lambda ax: plot_interpolation_sweep(sweep, ax),
        caption="The test error rises through the threshold and on, with no second descent. It goes with the largest "
        f"curvature, rank correlation {bend.value:.2f} [{bend.low:.2f}, {bend.high:.2f}]; with the share "
        f"of near-shocks it is {shocks.value:.2f} [{shocks.low:.2f}, {shocks.high:.2f}].",
        notes=f"Differences of two layers on {sweep.samples} noisy samples in two dimensions, ε = 0.1; a near-shock is "
        "a point at which the second neuron of a layer has a Gibbs weight of at least 1/8. Intervals of 95 % by "
        "bootstrap. With less noise or shorter training the correlation is weaker.",
    )


TRAINED_RATES = (
    Claim(
        name="theory.generalisation-rate",
        source=f"{THEORY}, abstract",
        statement=r"A layer reaches the minimax rate $O(n^{-1/(d+2)})$ for Lipschitz targets.",
        computed="Layers trained on noisy samples of a convex and of another Lipschitz target, over sample sizes.",
        measure=_generalisation,
        recorded="conditional",
        condition="The target is convex, or the model is the difference of two layers.",
    ),
    Claim(
        name="theory.width-scaling",
        source=f"{THEORY}, abstract and authors' code, scaling",
        statement=r"The error of trained layers falls with their width as $N^{-1/d}$.",
        computed="Layers fitted to |x| with the viscosity tied to the width, fixed, trained, and tied for two neurons.",
        measure=_width_scaling,
        recorded="fails",
        instead="The exponent is that of the viscosity tied to the width, which two neurons share.",
    ),
    Claim(
        name="theory.double-descent",
        source=f"{THEORY}, consequences",
        statement="Double descent is a near-shock: the test error peaks with the curvature at the threshold of "
        "interpolation, and falls beyond.",
        computed="Width swept through the threshold: error, largest curvature and density of near-shocks, correlated.",
        measure=_double_descent,
        recorded="conditional",
        condition="Only that error and largest curvature go together: no second descent was seen.",
    ),
)
