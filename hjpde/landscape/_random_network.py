"""A multi-layer perceptron with Gaussian weights, as an energy of its input on the sphere."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np

from hjpde._types import ArrayInput, ScalarLike, known_number

from ._activation import Activation, as_activation


@final
@dataclasses.dataclass(frozen=True, init=False)
class RandomNetwork:
    r"""The ensemble of networks whose output is an energy of the input,

    $$z^1 = \frac{W^1 x}{\sqrt N}, \quad z^{l+1} = \frac{W^{l+1}\phi(z^l)}{\sqrt{N_l}}, \quad
    H(x) = \sum_{i=1}^{N_L} a_i\,\phi(z^L_i), \qquad |x|^2 = N,$$

    with $W_{ij} \sim N(0, \sigma_w^2)$, $a_i \sim N(0, 1)$, no biases and widths $N_l = \alpha_l N$. The factor in
    front makes energies extensive, so that temperatures of order one select inputs.

    - `widths`: $(\alpha_1, \dots, \alpha_L)$.
    - `activation`: $\phi$.
    - `sigma_w`: $\sigma_w$.
    """

    widths: tuple[float, ...]
    activation: Activation
    sigma_w: float

    def __init__(
        self, widths: ArrayInput, activation: str | Activation | Callable[[Any], Any], sigma_w: ScalarLike = 1.0
    ):
        r"""**Arguments:**

        - `widths`: $\alpha_l > 0$, the number of neurons of each hidden layer for each input; a number is one layer.
        - `activation`: a name of `ACTIVATIONS`, an `Activation`, or a smooth function on jax arrays.
        - `sigma_w`: the standard deviation of the weights, positive.

        **Raises:** `ValueError` for no layer, a width or deviation that is not positive and finite, or an unknown name.
        """
        ratios = np.atleast_1d(np.asarray(widths, float))
        if ratios.ndim != 1 or ratios.size == 0 or not np.all(np.isfinite(ratios) & (ratios > 0)):
            raise ValueError(f"`widths` must be one or more positive ratios, got {widths}.")
        deviation = known_number(sigma_w, "sigma_w")
        if not (np.isfinite(deviation) and deviation > 0):
            raise ValueError(f"`sigma_w` must be a positive number, got {deviation:g}.")
        object.__setattr__(self, "widths", tuple(float(ratio) for ratio in ratios))
        object.__setattr__(self, "activation", as_activation(activation))
        object.__setattr__(self, "sigma_w", deviation)

    @property
    def depth(self) -> int:
        """The number of hidden layers."""
        return len(self.widths)
