"""Activations of a random network, as functions of jax for samplers and of numpy in float64 for the theory."""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from hjpde._types import ScalarLike, known_number


@final
@dataclasses.dataclass(frozen=True)
class Activation:
    r"""A function $\phi$ applied to each neuron.

    - `name`: in reports and figures.
    - `function`: $\phi$ on jax arrays, elementwise.
    - `values`: $\phi$ on numpy arrays in float64.
    - `slopes`: $(c_-, c_+)$ if $\phi(h) = c_- h$ for $h < 0$ and $c_+ h$ for $h \ge 0$, which has closed forms;
      `None` for a smooth function.
    - `period`: of a periodic function, else `None`.
    """

    name: str
    function: Callable[[Any], Any]
    values: Callable[[np.ndarray], np.ndarray]
    slopes: tuple[float, float] | None = None
    period: float | None = None

    def __call__(self, z: Any) -> Any:
        return self.function(z)


def piecewise_linear(negative: ScalarLike, positive: ScalarLike, name: str = "piecewise linear") -> Activation:
    r"""$\phi(h) = c_- h$ for $h < 0$ and $c_+ h$ for $h \ge 0$: ReLU is $(0, 1)$, shaped ReLU
    $(1 + c_-/\sqrt L,\ 1 + c_+/\sqrt L)$.

    **Arguments:** `negative`, `positive`: $c_-$ and $c_+$, finite; `name`: in reports.

    **Raises:** `ValueError` for slopes that are not finite, or both 0.
    """
    negative, positive = known_number(negative, "negative"), known_number(positive, "positive")
    if not np.all(np.isfinite([negative, positive])) or negative == positive == 0:
        raise ValueError(f"`negative` and `positive` must be finite and not both 0, got {negative:g}, {positive:g}.")
    return Activation(
        name,
        lambda z: jnp.where(z < 0, negative * z, positive * z),
        lambda z: np.where(z < 0, negative * z, positive * z),
        slopes=(negative, positive),
    )


def shaped_relu(depth: int, negative: ScalarLike, positive: ScalarLike) -> Activation:
    r"""ReLU shaped for a depth `L`: slopes $1 + c_\pm/\sqrt L$, so that one layer changes a correlation by $O(1/L)$.

    **Arguments:** `depth`: $L \ge 1$; `negative`, `positive`: $c_-$ and $c_+$.

    **Raises:** `ValueError` if `depth` is below 1 or a slope is not finite.

    ??? cite "References"

        M. Li, M. Nica, D. Roy, *The neural covariance SDE*, NeurIPS 2022.
    """
    if depth < 1:
        raise ValueError(f"`depth` must be at least 1, got {depth}.")
    negative, positive = known_number(negative, "negative"), known_number(positive, "positive")
    return piecewise_linear(1 + negative / depth**0.5, 1 + positive / depth**0.5, "shaped ReLU")


_TURN = 2 * np.pi

ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation("linear", lambda z: z, lambda z: z, slopes=(1.0, 1.0)),
    "relu": Activation("ReLU", jax.nn.relu, lambda z: np.maximum(z, 0.0), slopes=(0.0, 1.0)),
    "tanh": Activation("tanh", jnp.tanh, np.tanh),
    "erf": Activation("erf", jax.scipy.special.erf, scipy.special.erf),
    "sin": Activation("sin", jnp.sin, np.sin, period=_TURN),
    "cos": Activation("cos", jnp.cos, np.cos, period=_TURN),
}
"""The activations that are known by name."""


def as_activation(activation: str | Activation | Callable[[Any], Any]) -> Activation:
    r"""An activation by its name, or one of one's own.

    **Arguments:**

    - `activation`: a name of `ACTIVATIONS`, an `Activation`, or a smooth function on jax arrays; the theory evaluates
      that in jax's default precision, so to 1e-7 while x64 is off. A kink costs the quadrature its order: give
      `piecewise_linear` instead.

    **Raises:** `ValueError` for an unknown name, with those that come close.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            close = difflib.get_close_matches(activation.lower(), ACTIVATIONS, n=3, cutoff=0.4) or list(ACTIVATIONS)
            raise ValueError(f"`activation` {activation!r} is not known; did you mean {', '.join(close)}?")
        return ACTIVATIONS[activation]
    function = activation
    return Activation(
        getattr(function, "__name__", "custom"), function, lambda z: np.asarray(function(jnp.asarray(z)), dtype=float)
    )
