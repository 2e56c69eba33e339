"""The mass and the couplings of a Klein-Gordon network from trajectories of it that were observed."""

from typing import TYPE_CHECKING, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float

from hjpde._compilation import compiled_once
from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._training_loop import train
from hjpde._types import ArrayInput, Scalar, as_float_array, positive_scalar, require_finite

from ._duality import Newtonian

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_WIDTHS = (1, 7, 11, 21, 31)
"""Of the polynomials that smooth observations, in points; 1 leaves them as they are."""


@final
class RecoveredField(NamedTuple):
    r"""The field equation $\ddot\varphi = c^2\varphi'' - m^2\varphi - \lambda\varphi^3$ that fits some trajectories.

    - `mass`: `m`, in units of 1/time. - `speed`: `c`, the coupling to the neighbours. - `self_coupling`: $\lambda$.
    - `error`: the root mean square of what the fit misses, in units of the field.
    - `first_guess`: the same three by linear regression, the start of the fit.
    - `observed`, `fitted`: shape `(B, T, N)`. - `spacing`, `step`.
    """

    mass: float
    speed: float
    self_coupling: float
    error: float
    first_guess: tuple[float, float, float]
    observed: np.ndarray
    fitted: np.ndarray
    spacing: float
    step: float


class _Guess(eqx.Module):
    """What is fitted: mass, speed and self-coupling, and the start of each trajectory."""

    constants: Float[Array, "3"]
    phi: Float[Array, "B N"]
    beta: Float[Array, "B N"]
    spacing: Scalar
    step: Scalar

    def trajectories(self, steps: int) -> Float[Array, "B T N"]:
        a, (mass, speed, self_coupling) = self.spacing, self.constants

        def potential(phi: Float[Array, " N"]) -> Scalar:
            slope = (jnp.roll(phi, -1) - phi) / a
            return jnp.sum((mass * phi) ** 2 / 2 + (speed * slope) ** 2 / 2 + self_coupling * phi**4 / 4)

        network = Newtonian(potential, self.step)

        def run(phi: Float[Array, " N"], beta: Float[Array, " N"]) -> Float[Array, "T N"]:
            return jax.lax.scan(lambda s, _: (network(s), s[0]), (phi, beta), None, length=steps)[1]

        return jax.vmap(run)(self.phi, self.beta)


def _misfit(guess: _Guess, observed: Float[Array, "B T N"], key: Array) -> Scalar:
    del key
    return jnp.mean((guess.trajectories(observed.shape[1]) - observed) ** 2)


def recover_field(observations: ArrayInput, *, spacing: float, step: float, iterations: int = 100) -> RecoveredField:
    r"""Fits the mass, the neighbours' coupling and the self-coupling of a network to its observed trajectories.

    A step is $\varphi_{t+1} - 2\varphi_t + \varphi_{t-1} = \varepsilon^2(c^2\Delta_a - m^2)\varphi_t -
    \varepsilon^2\lambda\varphi_t^3$, which is linear in $m^2$, $c^2$ and $\lambda$: regression gives a first guess,
    exact without noise and biased with it. It is tried on smoothed observations as well, and the guess whose
    trajectories are nearest is taken. From there L-BFGS of `optax` moves the three together with each trajectory's
    start, until the whole trajectories, stepped by activation and learning, fit best.

    **Arguments:**

    - `observations`: fields on a ring, shape `(T, N)` or, for several trajectories, `(B, T, N)`, with `T >= 3` and
      `N >= 3`; float64 is needed for more than four digits.
    - `spacing`, `step`: `a` and $\varepsilon$, positive. - `iterations`: of L-BFGS.

    **Returns:** the constants with the trajectories they give.

    **Raises:** `ValueError` for a wrong shape, numbers that are not finite, or trajectories too simple to tell the
    three apart (a uniform field has no neighbours' coupling, one of tiny amplitude no self-coupling).
    """
    observed = as_float_array(observations, "observations")
    if observed.ndim not in (2, 3) or min(observed.shape[-2:]) < 3:
        raise ValueError(f"`observations` must have shape (T, N) or (B, T, N), T, N >= 3, got {observed.shape}.")
    require_finite(observed, "observations")
    if iterations < 0:
        raise ValueError(f"`iterations` must be at least 0, got {iterations}.")
    observed = observed.reshape(-1, *observed.shape[-2:])
    a, eps = positive_scalar(spacing, "spacing", observed.dtype), positive_scalar(step, "step", observed.dtype)
    start = _first_guess(observed, a, eps)
    moving = eqx.tree_at(lambda g: (g.spacing, g.step), jax.tree.map(lambda _: True, start), (False, False))
    options = {"steps": iterations, "key": jax.random.key(0), "optimiser": "lbfgs", "trainable": moving}
    guess = train(_misfit, start, observed, quick_compile=True, **options).model if iterations else start
    fitted = np.asarray(eqx.filter_jit(_Guess.trajectories)(guess, observed.shape[1]))
    mass, speed, self_coupling = _constants(guess)
    error = float(np.sqrt(np.mean((fitted - np.asarray(observed)) ** 2)))
    return RecoveredField(
        mass, speed, self_coupling, error, _constants(start), np.asarray(observed), fitted, float(a), float(eps)
    )


def plot_recovery(recovered: RecoveredField, ax: "Axes | None" = None, *, site: int = 0) -> "Axes":
    """The field at one site of the first trajectory over time, observed and fitted.

    **Arguments:** `recovered`, from `recover_field`; `ax`, or `None` for new axes; `site`, its index.

    **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    t = recovered.step * np.arange(recovered.observed.shape[1])
    ax.plot(t, recovered.observed[0, :, site], "o", ms=3, color=ORANGE, label="observed")
    label = f"fitted: m = {recovered.mass:.3f}, c = {recovered.speed:.3f}, λ = {recovered.self_coupling:.3f}"
    ax.plot(t, recovered.fitted[0, :, site], "-", color=BLUE, label=label)
    ax.set_xlabel("time t [time]")
    ax.set_ylabel(f"field φ at site {site}")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _constants(guess: _Guess) -> tuple[float, float, float]:
    # Only the squares of the first two enter.
    mass, speed, self_coupling = np.asarray(guess.constants, float).tolist()
    return abs(mass), abs(speed), self_coupling


def _first_guess(observed: Float[Array, "B T N"], a: Scalar, eps: Scalar) -> _Guess:
    """The regression whose trajectories miss least, over some widths of smoothing."""
    raw, guesses, misfits = np.asarray(observed, float), [], []
    for width in _WIDTHS:
        if width > min(raw.shape[1:]):
            break
        smooth: np.ndarray = raw
        if width > 1:
            for axis, mode in ((1, "interp"), (2, "wrap")):
                smooth = np.asarray(scipy.signal.savgol_filter(smooth, width, 4, axis=axis, mode=mode))
        constants = jnp.asarray(_regression(smooth, float(a), float(eps)), observed.dtype)
        phi, beta = (jnp.asarray(v, observed.dtype) for v in (smooth[:, 0], smooth[:, 1] - smooth[:, 0]))
        guesses.append(_Guess(constants, phi, beta, a, eps))
        misfit = float(_compiled_misfit(guesses[-1], observed))
        misfits.append(misfit if np.isfinite(misfit) else np.inf)
    return guesses[int(np.argmin(misfits))]


@compiled_once
def _compiled_misfit(guess: _Guess, observed: Float[Array, "B T N"]) -> Scalar:
    return _misfit(guess, observed, jax.random.key(0))


def _regression(observed: np.ndarray, a: float, eps: float) -> np.ndarray:
    """Least squares, step by step, with the squares of mass and speed not below 0."""
    now = observed[:, 1:-1]
    bend = (np.roll(now, 1, -1) + np.roll(now, -1, -1) - 2 * now) / a**2
    features = np.stack([-now, bend, -(now**3)], -1).reshape(-1, 3)
    accelerations = (observed[:, 2:] - 2 * now + observed[:, :-2]).reshape(-1) / eps**2
    scales = np.linalg.norm(features, axis=0)
    if not np.all(scales > 0) or np.linalg.cond(features / np.where(scales > 0, scales, 1)) > 1e6:
        raise ValueError("`observations` do not tell mass and couplings apart: vary the field over space and size.")
    squares = np.linalg.lstsq(features / scales, accelerations, rcond=None)[0] / scales
    return np.append(np.sqrt(np.maximum(squares[:2], 0)), squares[2])
