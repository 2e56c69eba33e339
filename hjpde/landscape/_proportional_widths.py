r"""The replica-symmetric saddle of a random network whose widths are proportional to its input dimension.

Hidden activations respond to the choice of the input at order one, so that every layer has overlaps and dual
variables of its own. The forward sweep carries overlaps from the input up, the backward sweep duals from the output
down, and the saddle is their fixed point.
"""

import math
from typing import TYPE_CHECKING, NamedTuple, final

import equinox as eqx
import numpy as np

from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ScalarLike, known_number

from ._random_network import RandomNetwork
from ._tilted_layer import LayerAverages, layer_averages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TOLERANCE = 1e-9
_DAMPING = 0.5
_MEMORY = 5


class RESULTS(eqx.Enumeration):
    """How a search for a saddle ended; every message but the first says what to change."""

    successful = ""
    max_sweeps_reached = (
        "the sweeps did not settle; `residual` is by how much the last one still changed the overlaps and duals. "
        "Increase `max_sweeps`, or come from a higher temperature with `start`."
    )
    diverged = (
        "an average over a layer does not exist, or the overlaps left their range: the tilt by the layers above "
        "outgrows the Gaussian of the weights. Come from a higher temperature with `start`."
    )


@final
class ReplicaSymmetric(NamedTuple):
    r"""The replica-symmetric saddle at one inverse temperature; numbers are NaN unless `result` is successful.

    - `beta`: the inverse temperature.
    - `energy`: $e = \langle H\rangle/N$.
    - `entropy`: $s = F + \beta e \le 0$, of the inputs at that energy relative to the whole sphere.
    - `free_energy`: $F = \lim \frac1N E\log Z$, with $F(0) = 0$.
    - `overlaps`: $q_l$ for $l = 0, \dots, L$: between two inputs, then between their activations in each layer.
    - `diagonals`: $g_l$, the mean square of activations, $g_0 = 1$.
    - `duals`: $(r_l, o_l)$ for $l = 0, \dots, L$, shape `(L + 1, 2)`; $r_L = 0$, $o_L = \beta^2$.
    - `replicon`: the saddle is locally stable against breaking of the symmetry if this is at most 1; infinite if a
      layer is unstable by itself.
    - `result`, `residual`, `sweeps`: how the search ended, the largest change in the last sweep, and their number.
    """

    beta: float
    energy: float
    entropy: float
    free_energy: float
    overlaps: np.ndarray
    diagonals: np.ndarray
    duals: np.ndarray
    replicon: float
    result: RESULTS
    residual: float
    sweeps: int

    @property
    def stable(self) -> bool:
        """Whether the saddle was found and the replicon is at most 1."""
        return self.replicon <= 1


def replica_symmetric(
    network: RandomNetwork,
    beta: ScalarLike,
    *,
    start: ReplicaSymmetric | None = None,
    max_sweeps: int = 500,
    resolution: float = 1.0,
    throw: bool = True,
) -> ReplicaSymmetric:
    r"""The saddle of the free energy of a random network over its inputs, at proportional widths.

    With $f_l(h_0, u)$ the free energy of a neuron (`layer_averages`), $k_l = \alpha_l/\alpha_{l-1}$, $\alpha_0 = 1$,

    $$g_l = E\langle\phi^2\rangle, \quad q_l = E\langle\phi\rangle^2, \quad
    o_{l-1} = k_l\sigma_w^2 E f_h^2, \quad r_{l-1} = k_l\sigma_w^2 E f_{hh}, \quad
    \frac{q_0}{(1 - q_0)^2} = o_0,$$

    $$F = \tfrac12\Bigl[\log(1 - q_0) + \tfrac{q_0}{1 - q_0}\Bigr] + \sum_{l=1}^L \alpha_l E f_l
    - \sum_{l<L}\tfrac{\alpha_l}{2}\bigl[(r_l + o_l) g_l - o_l q_l\bigr].$$

    The replicon is $(1 - q_0)^2 c_1$, where $c_L = k_L\sigma_w^4 E f_{hh}^2$ and, down the layers,
    $c_l = k_l\sigma_w^4 E f_{hh}^2 + k_l(\sigma_w^2 E f_{hu}^2)^2 c_{l+1} / (1 - E f_{uu}^2\, c_{l+1})$.

    Quadrature and saddle are computed in float64 on the host, whatever jax's precision.

    **Arguments:**

    - `network`: the ensemble.
    - `beta`: inverse temperature, not negative; at 0 inputs are uniform on the sphere.
    - `start`: a saddle of the same network at a close temperature, to start from.
    - `max_sweeps`: forward and backward sweeps at most.
    - `resolution`: 2 halves the steps of all quadratures; at 1 free energies are known to about 1e-6, and replicons
      at very low temperatures to about 1e-2.
    - `throw`: whether a search that fails raises; else its `result` says why and its numbers are NaN.

    **Returns:** the saddle.

    **Raises:** `ValueError` if `beta` is negative or not finite, or `start` has another depth; `RuntimeError` if the
    search fails, unless `throw` is false.

    ??? cite "References"

        M. Winer, B. Hanin, *Deep Neural Nets as Hamiltonians*, Phys. Rev. E 113, 015303 (arXiv 2503.23982), for the
        problem; the equations and the replicon are derived here.
    """
    beta = known_number(beta, "beta")
    if not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"`beta` must be a finite inverse temperature >= 0, got {beta:g}.")
    if max_sweeps < 1 or not resolution > 0:
        raise ValueError(f"`max_sweeps` and `resolution` must be positive, got {max_sweeps} and {resolution}.")
    if start is not None and len(start.overlaps) != network.depth + 1:
        raise ValueError(f"`start` must be a saddle of depth {network.depth}, got {len(start.overlaps) - 1}.")
    state = _first_guess(network, beta) if start is None else _restart(start, beta)
    state, _, _, coarse_sweeps = _fixed_point(network, state, resolution / 2, max_sweeps)
    state, layers, residual, sweeps = _fixed_point(network, state, resolution, max_sweeps)
    if residual < _TOLERANCE:
        result = RESULTS.successful
    else:
        result = RESULTS.max_sweeps_reached if np.isfinite(residual) else RESULTS.diverged
    sweeps += coarse_sweeps
    found = _solution(network, beta, state, layers, result, residual, sweeps)
    if throw and found.result != RESULTS.successful:
        raise RuntimeError(f"No saddle at beta = {beta:g}: {RESULTS[found.result]} (residual {residual:.1e})")
    return found


class _State(NamedTuple):
    """Diagonals, overlaps and duals of the layers `0, ..., L`."""

    g: np.ndarray
    q: np.ndarray
    r: np.ndarray
    o: np.ndarray


def _first_guess(network: RandomNetwork, beta: float) -> _State:
    """Overlaps at which every layer is tilted, and the duals of the top everywhere, damped."""
    ones = np.ones(network.depth + 1)
    o = 0.2 * beta**2 * ones
    o[-1] = beta**2
    return _State(ones, 0.3 * ones, 0 * ones, o)


def _restart(start: ReplicaSymmetric, beta: float) -> _State:
    r, o = start.duals.T.copy()
    o[-1] = beta**2
    return _State(start.diagonals.copy(), start.overlaps.copy(), r, o)


def _sweep(network: RandomNetwork, state: _State, resolution: float) -> tuple[_State, list[LayerAverages]]:
    """Forward for overlaps, backward for duals; the averages are those of the backward sweep."""
    alphas, L, variance = (1.0, *network.widths), network.depth, network.sigma_w**2
    g, q, r, o = (values.copy() for values in state)

    def averages(l: int) -> LayerAverages:
        return layer_averages(
            network.activation, network.sigma_w, (g[l - 1], q[l - 1]), (r[l], o[l]), resolution=resolution
        )

    for l in range(1, L):
        layer = averages(l)
        g[l], q[l] = layer.diagonal, layer.overlap
    layers: list[LayerAverages] = []
    for l in range(L, 0, -1):
        layers.insert(0, averages(l))
        k = alphas[l] / alphas[l - 1]
        o[l - 1], r[l - 1] = k * variance * layers[0].force, k * variance * layers[0].curvature
    # The solution of q / (1 - q)^2 = o, without the cancellation at small o.
    q[0] = 2 * o[0] / (1 + 2 * o[0] + np.sqrt(1 + 4 * o[0]))
    g[L], q[L] = layers[-1].diagonal, layers[-1].overlap
    return _State(g, q, r, o), layers


def _fixed_point(
    network: RandomNetwork, state: _State, resolution: float, max_sweeps: int
) -> tuple[_State, list[LayerAverages], float, int]:
    """Sweeps with Anderson's mixing of what they start from: the input's overlap and the duals of inner layers."""
    inner = slice(1, network.depth)
    points: list[np.ndarray] = []
    residuals: list[np.ndarray] = []
    layers: list[LayerAverages] = []
    change, sweeps = math.inf, 0
    while sweeps < max_sweeps and change >= _TOLERANCE:
        sweeps += 1
        swept, layers = _sweep(network, state, resolution)
        point = np.concatenate([state.q[:1], state.r[inner], state.o[inner]])
        residual = np.concatenate([swept.q[:1], swept.r[inner], swept.o[inner]]) - point
        change = float(np.max(np.abs(residual) / np.maximum(1.0, np.abs(point))))
        if not np.isfinite(change):
            break
        points, residuals = [*points[-_MEMORY:], point], [*residuals[-_MEMORY:], residual]
        mixed = _mixed(points, residuals)
        q0, (r, o) = mixed[0], mixed[1:].reshape(2, -1)
        if not (0 <= q0 < 1 and np.all(o >= 0)):
            mixed = point + _DAMPING * residual
            q0, (r, o) = mixed[0], mixed[1:].reshape(2, -1)
            points, residuals = [], []
        state = swept
        state.q[0], state.r[inner], state.o[inner] = q0, r, o
    return state, layers, change, sweeps


def _mixed(points: list[np.ndarray], residuals: list[np.ndarray]) -> np.ndarray:
    """The damped step from the combination of the last points whose residual is least (Anderson 1965)."""
    step = points[-1] + _DAMPING * residuals[-1]
    if len(points) == 1:
        return step
    moves, changes = np.diff(points, axis=0).T, np.diff(residuals, axis=0).T
    weights = np.linalg.lstsq(changes, residuals[-1])[0]
    return step - (moves + _DAMPING * changes) @ weights


def _solution(
    network: RandomNetwork,
    beta: float,
    state: _State,
    layers: list[LayerAverages],
    result: RESULTS,
    residual: float,
    sweeps: int,
) -> ReplicaSymmetric:
    g, q, r, o = state
    if result != RESULTS.successful:
        nothing = np.full((network.depth + 1, 2), math.nan)
        return ReplicaSymmetric(
            beta=beta,
            energy=math.nan,
            entropy=math.nan,
            free_energy=math.nan,
            overlaps=nothing[:, 0],
            diagonals=nothing[:, 0],
            duals=nothing,
            replicon=math.nan,
            result=result,
            residual=residual,
            sweeps=sweeps,
        )
    alphas = np.array(network.widths)
    values = np.array([layer.value for layer in layers])
    inner = slice(1, network.depth)
    free_energy = 0.5 * (np.log1p(-q[0]) + q[0] / (1 - q[0])) + alphas @ values
    free_energy -= 0.5 * alphas[:-1] @ ((r[inner] + o[inner]) * g[inner] - o[inner] * q[inner])
    energy = -alphas[-1] * layers[-1].work
    replicon = (1 - q[0]) ** 2 * _instability(network, layers)
    return ReplicaSymmetric(
        beta=beta,
        energy=float(energy),
        entropy=float(free_energy + beta * energy),
        free_energy=float(free_energy),
        overlaps=q,
        diagonals=g,
        duals=np.stack([r, o], axis=1),
        replicon=float(replicon),
        result=result,
        residual=residual,
        sweeps=sweeps,
    )


def _instability(network: RandomNetwork, layers: list[LayerAverages]) -> float:
    """$c_1$ of the replicon, down from the output."""
    alphas, variance = (1.0, *network.widths), network.sigma_w**2
    c = 0.0
    for l in range(network.depth, 0, -1):
        layer, k = layers[l - 1], alphas[l] / alphas[l - 1]
        if layer.uu * c >= 1:
            return math.inf
        c = k * variance**2 * (layer.hh + layer.hu**2 * c / (1 - layer.uu * c))
    return c


def plot_replica_symmetric(saddle: ReplicaSymmetric, ax: "Axes | None" = None) -> "Axes":
    r"""The overlaps and diagonals of a saddle over its layers.

    **Arguments:** `saddle`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    layers = np.arange(len(saddle.overlaps))
    ax.plot(layers, saddle.diagonals, "o-", color=BLUE, label="mean square g")
    ax.plot(layers, saddle.overlaps, "s--", color=ORANGE, label="overlap q of two inputs")
    ax.set(xlabel="layer (0 is the input)", ylabel="per neuron", xticks=layers)
    ax.set_title(f"β = {saddle.beta:g}, replicon {saddle.replicon:.3g}")
    ax.legend(frameon=False)
    tidy(ax)
    return ax
