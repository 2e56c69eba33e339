r"""Averages over one layer under the tilt that the layers above exert: the integrals of the replica-symmetric saddle.

For a neuron, with $h = h_0 + s z$, $h_0 = \sigma_w\sqrt q\,\xi$, $s = \sigma_w\sqrt{g - q}$, $u = \sqrt o\,y$ and
standard normal $\xi, y, z$,

$$f(h_0, u) = \log \int Dz\, \exp\Bigl(\frac r2 \phi(h)^2 + u\,\phi(h)\Bigr),$$

and $\langle\cdot\rangle$ is the average under that tilted measure of $z$. Derivatives of $f$ are its moments, which
kinks do not disturb.
"""

from collections.abc import Callable
from typing import NamedTuple, final

import numpy as np
from scipy.special import log_ndtr

from ._activation import Activation

# Of standard normals: the variance beyond is 1e-10.
_CUT = 7.0
# Nodes of the outer averages; at very low temperatures they bound the work, and then the accuracy.
_MOST_NODES = (1601, 401)
# Factors below exp(-300) are kept away from underflow, a product of two of them included.
_SPREAD = 300.0


@final
class LayerAverages(NamedTuple):
    r"""Averages over $\xi$ and $y$ of $f$ and its moments.

    - `value`: $E f$; `diagonal`: $E\langle\phi^2\rangle$; `overlap`: $E\langle\phi\rangle^2$;
      `work`: $E\,y\langle\phi\rangle$.
    - `force`: $E f_h^2$; `curvature`: $E f_{hh}$.
    - `hh`, `hu`, `uu`: $E f_{hh}^2$, $E f_{hu}^2$, $E f_{uu}^2$.
    """

    value: float
    diagonal: float
    overlap: float
    work: float
    force: float
    curvature: float
    hh: float
    hu: float
    uu: float


class _Moments(NamedTuple):
    """Of the tilted measure, arrays over `h0` and `u`; `shift` is the mean of `h - h0`."""

    value: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    shift: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray


def layer_averages(
    activation: Activation,
    sigma_w: float,
    input_overlaps: tuple[float, float],
    duals: tuple[float, float],
    resolution: float = 1.0,
) -> LayerAverages:
    r"""The averages of a layer.

    **Arguments:**

    - `input_overlaps`: $(g, q)$, diagonal and overlap of the layer below, $g > q \ge 0$.
    - `duals`: $(r, o)$, $o \ge 0$.
    - `resolution`: 2 halves the steps of the quadrature, which are uniform, so that smooth integrands converge faster
      than any power.

    **Returns:** NaN everywhere if the tilt outgrows the Gaussian, so that the integral diverges.
    """
    (g, q), (r, o) = input_overlaps, duals
    if not (g > q >= 0 and o >= 0 and np.isfinite(g + o + r)):
        return LayerAverages(*[np.nan] * 9)
    spread, root = sigma_w * np.sqrt(q), np.sqrt(o)
    s = sigma_w * np.sqrt(g - q)
    lipschitz, bend = _roughness(activation, r, spread + s)
    narrowest = s / np.sqrt(1 + s**2 * (4 * root * bend[0] + abs(r) * bend[1]))
    # Closed forms are cheap, and have features that Gaussians of width s have not.
    fineness = resolution * (1.5 if activation.slopes is None else 4)
    # At low temperatures a neuron jumps between wells a distance of order 1 apart, within s^2 of h0.
    xi, weights_xi = _normal_nodes(min(narrowest, s**2) / max(spread, 1e-300), fineness, _MOST_NODES[0])
    y, weights_y = _normal_nodes(1 / max(root * s * lipschitz, 1e-300), fineness, _MOST_NODES[1])
    h0, u = spread * xi, root * y
    if activation.slopes is not None:
        moments = _piecewise_linear_moments(activation.slopes, h0, u, s, r)
    else:
        moments = _smooth_moments(activation.values, h0, u, s, r, lipschitz, 0.6 * narrowest / resolution)

    def average(values: np.ndarray) -> float:
        return float(weights_xi @ values @ weights_y)

    f_h, f_hh = moments.shift / s**2, (moments.variance / s**2 - 1) / s**2
    f_hu, f_uu = moments.covariance / s**2, moments.square - moments.mean**2
    return LayerAverages(
        value=average(moments.value),
        diagonal=average(moments.square),
        overlap=average(moments.mean**2),
        work=average(moments.mean * y[None]),
        force=average(f_h**2),
        curvature=average(f_hh),
        hh=average(f_hh**2),
        hu=average(f_hu**2),
        uu=average(f_uu**2),
    )


def _normal_nodes(feature: float, fineness: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """A uniform rule for standard normals, fine enough for features of a width."""
    step = min(0.25, feature / fineness)
    n = int(np.clip(2 * np.ceil(_CUT / step) + 1, 3, most))
    nodes = np.linspace(-_CUT, _CUT, n)
    weights = np.exp(-(nodes**2) / 2)
    return nodes, weights / weights.sum()


def _roughness(activation: Activation, r: float, size: float) -> tuple[float, tuple[float, float]]:
    r"""The largest $|\phi'|$, and the largest $|\phi''|$ and $|(\phi^2/2)''|$, where neurons usually are."""
    if activation.slopes is not None:
        return max(map(abs, activation.slopes)), (0.0, 0.0)
    h, step = np.linspace(-_CUT * size, _CUT * size, 1201, retstep=True)
    phi = activation.values(h)
    bend, bend_square = (np.abs(np.diff(values, 2)).max() / step**2 for values in (phi, phi**2 / 2))
    return float(np.abs(np.diff(phi)).max() / step), (float(bend), float(bend_square))


def _piecewise_linear_moments(
    slopes: tuple[float, float], h0: np.ndarray, u: np.ndarray, s: float, r: float
) -> _Moments:
    """Closed forms: on either side of the kink the tilted measure is a truncated Gaussian."""
    h0, u = np.meshgrid(h0, u, indexing="ij")
    logs, means, squares = [], [], []
    for side, slope in zip((-1.0, 1.0), slopes, strict=True):
        precision = 1 / s**2 - r * slope**2
        if precision <= 0:
            return _Moments(*[np.full_like(h0, np.nan)] * 6)
        centre, width = (h0 / s**2 + u * slope) / precision, precision**-0.5
        t = side * centre / width
        logs.append(-np.log(s / width) + (centre / width) ** 2 / 2 - (h0 / s) ** 2 / 2 + log_ndtr(t))
        hazard = np.exp(-(t**2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(t))
        means.append(centre + side * width * hazard)
        squares.append(width**2 + centre * means[-1])
    value = np.logaddexp(*logs)
    shares = [np.exp(log - value) for log in logs]

    def over_sides(*factors: list[np.ndarray]) -> np.ndarray:
        return sum(share * factor for share, factor in zip(shares, factors[0], strict=True))  # pyright: ignore[reportReturnType]

    low, high = slopes
    phi = over_sides([low * means[0], high * means[1]])
    h, h_phi = over_sides(means), over_sides([low * squares[0], high * squares[1]])
    return _Moments(
        value=value,
        mean=phi,
        square=over_sides([low**2 * squares[0], high**2 * squares[1]]),
        shift=h - h0,
        variance=over_sides(squares) - h**2,
        covariance=h_phi - h * phi,
    )


def _smooth_moments(
    phi: Callable[[np.ndarray], np.ndarray],
    h0: np.ndarray,
    u: np.ndarray,
    s: float,
    r: float,
    lipschitz: float,
    step: float,
) -> _Moments:
    r"""Sums over a grid of $h$ as matrix products $K(h_0 - h)\,e^{r\phi^2/2 + u\phi}$, for blocks of $h_0$.

    Within a block both factors are taken relative to the Gaussian's decay outside it, so that their product neither
    overflows nor vanishes, however low the temperature.
    """
    steepest = np.abs(u).max() * lipschitz
    width = min(_SPREAD / max(steepest, 1e-300), 20 * s)
    blocks = np.array_split(h0, int(np.ceil((h0[-1] - h0[0]) / width)) + 1 if h0[-1] > h0[0] else 1)
    heights = phi(np.linspace(h0[0] - 10, h0[-1] + 10, 801))
    reach = min(8 * s + s**2 * steepest, s * np.sqrt(64 + 4 * np.abs(u).max() * np.ptp(heights)))
    reach = reach / np.sqrt(max(1 - max(r, 0.0) * (s * lipschitz) ** 2, 0.1))
    return _Moments(
        *(np.concatenate(parts) for parts in zip(*(_block(phi, b, u, s, r, reach, step) for b in blocks), strict=True))
    )


def _block(
    phi: Callable[[np.ndarray], np.ndarray],
    h0: np.ndarray,
    u: np.ndarray,
    s: float,
    r: float,
    reach: float,
    step: float,
) -> _Moments:
    low, high = h0[0], h0[-1]
    h = np.linspace(low - reach, high + reach, int(np.ceil((high - low + 2 * reach) / step)) + 1)
    values, centred = phi(h)[:, None], (h - (low + high) / 2)[:, None]
    outside = np.maximum(np.maximum(low - h, h - high), 0.0)[:, None]
    decay = outside**2 / (2 * s**2)
    logs = r * values**2 / 2 + u[None] * values - decay
    peak = logs.max(axis=0, keepdims=True)
    tilt = np.exp(logs - peak)
    kernel = np.exp(decay.T - (h0[:, None] - h[None]) ** 2 / (2 * s**2)) * ((h[1] - h[0]) / (s * np.sqrt(2 * np.pi)))
    features = (1.0, values, values**2, centred, centred**2, centred * values)
    mass, *sums = np.split(kernel @ np.concatenate([tilt * feature for feature in features], axis=1), 6, axis=1)
    mean, square, place, place_square, product = (total / mass for total in sums)
    return _Moments(
        value=np.log(mass) + peak,
        mean=mean,
        square=square,
        shift=place - (h0 - (low + high) / 2)[:, None],
        variance=place_square - place**2,
        covariance=product - place * mean,
    )
