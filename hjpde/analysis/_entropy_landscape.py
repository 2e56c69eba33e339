r"""The entropy of the Gibbs weights as a landscape over the points, written so that it is nowhere flat.

The entropy is exponentially small where one neuron dominates, and so are its slopes: 1e-40 is common at a low
viscosity. Both forms here divide that factor out exactly, so that critical points are found at any viscosity.
All is computed in numpy's float64, whatever the dtype of the layer.
"""

import dataclasses
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from hjpde.initial_data import LogSumExp


def active_neurons(layer: LogSumExp) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Slopes and offsets in float64, without masked neurons.

    **Raises:** `ValueError` if fewer than two are left: the entropy is then 0 everywhere.
    """
    weights, biases = np.asarray(layer.weights, float), np.asarray(layer.biases, float)
    active = biases > -np.inf
    if active.sum() < 2:
        raise ValueError(f"`layer` must have at least two neurons that are not masked, got {active.sum()}.")
    return weights[active], biases[active]


class Jet(NamedTuple):
    r"""$\varphi(s, \varepsilon)$ and its partial derivatives: `ds` is $\partial_s$, `de` is $\partial_\varepsilon$."""

    value: np.ndarray
    ds: np.ndarray
    de: np.ndarray
    dss: np.ndarray
    dse: np.ndarray
    dee: np.ndarray
    dsss: np.ndarray


@final
@dataclasses.dataclass(frozen=True)
class Crossings:
    r"""Where the scores $z_j(s) = v_j s + c_j$ of a layer on a line cross, in pairs.

    As $H = \log Z - E_\pi[z]/\varepsilon$,

    $$-\varepsilon^2 H'(s) = \mathrm{Cov}_\pi(v, z) = \sum_{j<k} \pi_j \pi_k\, (v_j - v_k)(z_j - z_k)
    = \sum_{j<k} \omega_{jk}\, (s - s_{jk}), \qquad \omega_{jk} = \pi_j\pi_k (v_j - v_k)^2,$$

    where neurons $j$ and $k$ have equal scores at $s_{jk}$. The critical points of the entropy are thus the zeros of

    $$\varphi(s) = s - \sum \omega_{jk}\, s_{jk} \Big/ \sum \omega_{jk}:$$

    **a point is critical if it is the mean of the crossings**. The mean is under a Gibbs law over pairs with scores
    $y_{jk} = z_j + z_k$, so the derivatives of $\varphi$ are cumulants; $\varphi$ stays of the size of the line where
    the entropy underflows. $\varphi$ rises through a maximum of the entropy, and falls through a minimum.

    - `crossings`: $s_{jk}$, shape `(P,)`.
    - `slopes`, `offsets`: of $y_{jk}$ in `s`.
    - `log_masses`: $2 \log|v_j - v_k|$.
    """

    crossings: Float[np.ndarray, " P"]
    slopes: Float[np.ndarray, " P"]
    offsets: Float[np.ndarray, " P"]
    log_masses: Float[np.ndarray, " P"]

    @classmethod
    def of(cls, slopes: Float[np.ndarray, " N"], offsets: Float[np.ndarray, " N"]) -> "Crossings":
        """The pairs of the scores `slopes * s + offsets`; pairs of equal slope have no weight and are left out.

        **Raises:** `ValueError` if all slopes are equal: the entropy is then constant along the line.
        """
        first, second = np.triu_indices(slopes.size, 1)
        difference = slopes[first] - slopes[second]
        apart = difference != 0
        if not apart.any():
            raise ValueError("The entropy is constant along the line: no two neurons have different slopes there.")
        first, second, difference = first[apart], second[apart], difference[apart]
        return cls(
            (offsets[second] - offsets[first]) / difference,
            slopes[first] + slopes[second],
            offsets[first] + offsets[second],
            2 * np.log(np.abs(difference)),
        )

    def log_weights(self, s: Float[np.ndarray, "*batch"], viscosity: float) -> Float[np.ndarray, "*batch P"]:
        """The logarithms of the pairs' probabilities at parameters of the line."""
        scores = (self.slopes * s[..., None] + self.offsets) / viscosity + self.log_masses
        scores = scores - scores.max(-1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(-1, keepdims=True))

    def jet(self, s: Float[np.ndarray, "*batch"], viscosity: float) -> Jet:
        r"""$\varphi$ with all second derivatives, and the third in `s`."""
        weights = np.exp(self.log_weights(s, viscosity))
        middle = weights @ self.crossings
        a = self.crossings - middle[..., None]
        u = self.slopes - (weights @ self.slopes)[..., None]
        y = u * s[..., None] + self.offsets - (weights @ self.offsets)[..., None]
        e, wa = viscosity, weights * a
        au, ay, auu = (wa * u).sum(-1), (wa * y).sum(-1), (wa * u**2).sum(-1)
        auuu = (wa * u**3).sum(-1) - 3 * au * (weights * u**2).sum(-1)
        return Jet(
            value=s - middle,
            ds=1 - au / e,
            de=ay / e**2,
            dss=-auu / e**2,
            dse=au / e**2 + (wa * u * y).sum(-1) / e**3,
            dee=-2 * ay / e**3 - (wa * y**2).sum(-1) / e**4,
            dsss=-auuu / e**3,
        )


@final
@dataclasses.dataclass(frozen=True)
class LogEntropy:
    r"""$\log H$ of a layer, with gradient and Hessian, in any dimension.

    It has the critical points of $H$, of the same kinds. With $\hat z, \hat W$ taken relative to the dominating neuron
    and $m$ the mass of all others, whose law among themselves is $q$,

    $$\frac{H}{m} = \frac{-\log(1 - m)}{m} - \frac{E_q[\hat z]}{\varepsilon}, \qquad
    \frac{\nabla H}{m} = -\frac{E_q[\hat z \hat W] - m\,E_q[\hat z]\,E_q[\hat W]}{\varepsilon^2},$$

    and alike for $\nabla^2 H = -(\kappa_\pi(W, W, z)/\varepsilon + \mathrm{Cov}_\pi(W))/\varepsilon^2$ with the third
    joint cumulant: no term is a difference of large ones, and nothing underflows.
    """

    weights: Float[np.ndarray, "N d"]
    biases: Float[np.ndarray, " N"]
    viscosity: float

    def __call__(
        self, X: Float[np.ndarray, "M d"]
    ) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, "M d"], Float[np.ndarray, "M d d"]]:
        """Value, gradient and Hessian at points."""
        e, rows = self.viscosity, np.arange(X.shape[0])
        z = X @ self.weights.T + self.biases
        winner = z.argmax(1)
        z = z - z[rows, winner][:, None]
        W = self.weights - self.weights[winner][:, None]
        others = z / e
        others[rows, winner] = -np.inf
        odds = logsumexp(others, axis=1)
        mass = np.exp(odds - np.logaddexp(0, odds))[:, None]
        q = softmax(others, axis=1)

        z_mean, W_mean = (q * z).sum(1, keepdims=True), np.einsum("mn,mni->mi", q, W)
        zW, WW = np.einsum("mn,mni->mi", q * z, W), np.einsum("mn,mni,mnj->mij", q, W, W)
        zWW = np.einsum("mn,mni,mnj->mij", q * z, W, W)
        square = W_mean[:, :, None] * W_mean[:, None, :]
        mixed = zW[:, :, None] * W_mean[:, None, :]
        m = mass[:, :, None]
        third = zWW - m * (WW * z_mean[:, :, None] + mixed + np.swapaxes(mixed, 1, 2))
        third = third + 2 * m**2 * square * z_mean[:, :, None]

        surprise = np.where(mass > 0, np.logaddexp(0, odds)[:, None] / np.where(mass > 0, mass, 1), 1)
        entropy = surprise - z_mean / e
        slope = -(zW - mass * z_mean * W_mean) / e**2 / entropy
        bend = -(third / e + WW - m * square) / e**2 / entropy[:, :, None]
        log_mass = odds - np.logaddexp(0, odds)
        return log_mass + np.log(entropy[:, 0]), slope, bend - slope[:, :, None] * slope[:, None, :]
