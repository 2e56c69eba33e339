"""The panel of a training replayed: initial data that move until their solution meets the observations."""

import jax
import jax.numpy as jnp
import numpy as np

from hjpde._fit import fit
from hjpde._fitted import Fitted
from hjpde._observations import Regression
from hjpde._plotting import BLACK, GREEN, ORANGE
from hjpde.initial_data import Atoms

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked

_ATOMS = 10
_X = np.linspace(-2.2, 2.2, 177)
_NOISE = 0.06
_VISCOSITY = 0.05
_STEPS = 150


def _target(x: np.ndarray) -> np.ndarray:
    """Semiconcave: the least of two parabolas and a line, so that one solution can meet it."""
    return np.minimum(np.minimum((x + 1.1) ** 2, 0.25 + 0.7 * (x - 1.0) ** 2), 0.75 - 0.1 * x)


def _observations() -> Regression:
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(-2, 2, 80))
    y = _target(x) + _NOISE * random.normal(size=len(x))
    dtype = jnp.zeros(()).dtype
    return Regression(x[:, None].astype(dtype), y.astype(dtype))


def _replay(observations: Regression) -> list[Fitted]:
    """The fit after every few steps, the start first: one run, stopped and continued."""
    fits, state = [], None
    for until in range(0, _STEPS + 1, _STEPS // 30):
        one = fit(
            observations,
            n_atoms=_ATOMS,
            viscosity=_VISCOSITY,
            steps=_STEPS,
            until=until,
            state=state,
            validation_fraction=0.0,
            key=jax.random.key(1),
        )
        fits.append(one)
        state = one.state
    return fits


def training_panel() -> Panel:
    """Ten atoms fitted to noisy values on a line, after each few steps of Adam."""
    observations = _observations()
    x, y = np.asarray(observations.X)[:, 0], np.asarray(observations.y)
    fits = _replay(observations)
    steps = np.array([0, *(entry["step"] for entry in fits[-1].history)])
    curves = np.array([one.predict(_X[:, None]) for one in fits])
    residuals = np.array([np.asarray(one.predict(observations.X)) - y for one in fits])
    errors = np.sqrt(np.mean(residuals**2, axis=1))
    atoms = [one.problem.initial_data for one in fits]
    places = np.array([np.asarray(a.positions)[:, 0] for a in atoms if isinstance(a, Atoms)])
    heights = np.array([np.asarray(a.heights) for a in atoms if isinstance(a, Atoms)])
    times = [float(one.time) for one in fits]
    gaps = np.full((1, _ATOMS), np.nan)
    paths = [np.concatenate([a, gaps]).T.ravel() for a in (places, heights)]
    traces = [
        dots(x, y, "observations", colour="#999999", size=6),
        line(_X, _target(_X), "truth", colour=BLACK, dash="dash", width=1.5),
        line(_X, curves[0], "fit u(t, x)", width=3),
        line(paths[0], paths[1], "their way", row=2, colour="#999999", width=1),
        dots(places[0], heights[0], "atoms", row=2, colour=ORANGE, symbol="triangle-up", size=13),
        line(steps, errors, "root-mean-square residual", row=3),
        line(steps[[0, -1]], [_NOISE, _NOISE], "noise", row=3, colour=BLACK, dash="dot"),
        dots([0], [0], row=3, colour=GREEN, size=13),
    ]
    across = {"range": [-2.2, 2.2]}
    rows = (
        Row("x", "u", 1.2, across, {"range": [-0.35, 1.15]}),
        Row("position y", "height g", 0.9, across),
        Row("step of Adam", "residual", 0.7, {}, {"rangemode": "tozero"}),
    )
    return Panel(
        name="training",
        heading="Training moves the initial data",
        look=f"From the centres of k-means (step 0) {_ATOMS} point masses move, and the time t with them, until the "
        f"solution that grows from them meets {len(x)} observations: the residual falls from {errors[0]:.3f} to "
        f"{errors[-1]:.3f}, somewhat below the noise of {_NOISE} as {fits[0].parameters} numbers are fitted.",
        alternative="Observations with the fitted curve; below, the atoms that it grows from and the ways they went, "
        "and the residual over the steps.",
        sliders=(Slider("step of training", steps.tolist(), 2),),
        traces=traces,
        layout=stacked(rows, 900),
        moving=[
            Moving(2, "y", (0,), curves),
            Moving(4, "x", (0,), places),
            Moving(4, "y", (0,), heights),
            Moving(7, "x", (0,), steps[:, None]),
            Moving(7, "y", (0,), errors[:, None]),
        ],
        readings=np.array(
            [
                f"Step {step}: root-mean-square residual {error:.4f}, time t = {t:.4f}, viscosity ε = {_VISCOSITY}."
                for step, error, t in zip(steps, errors, times, strict=True)
            ]
        ),
    )
