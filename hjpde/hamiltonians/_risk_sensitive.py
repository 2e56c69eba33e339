"""Transport under noise whose outcomes are pooled by a log-sum-exp."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike, dot, known_number

from ._abstract import AbstractHamiltonian
from ._transport import Transport


@final
class RiskSensitive(AbstractHamiltonian):
    r"""$H(t, x, p) = v(t, x) \cdot p - \kappa |p|^2$, quadratic in the co-state.

    With $\kappa = \nu/\theta$ and viscosity $\nu$ the solution is the risk-sensitive value
    $u = \theta \log E \exp(g(X)/\theta)$ of paths $dX = -v\,dt + \sqrt{2\nu}\,dW$ through a datum `g`: at $v = 0$ and
    $\theta = -\nu$ this is Hopf and Cole's formula, so that a noisy network pooled in this way and a log-sum-exp layer
    solve equations of one family. Positive $\theta$ favours the large outcomes, negative the small ones.

    ??? cite "References"

        W. H. Fleming and H. M. Soner, *Controlled Markov Processes and Viscosity Solutions*, 2nd ed., Springer, 2006,
        Chapter VI.
    """

    transport: Transport
    kappa: float

    def __init__(self, transport: Transport, kappa: ScalarLike):
        r"""**Arguments:**

        - `transport`: the part that is linear in the co-state.
        - `kappa`: $\kappa$, not zero, in squared units of `x` per unit of `u` and time.

        **Raises:** `ValueError` if an argument is of another kind, or `kappa` is zero or not finite.
        """
        if not isinstance(transport, Transport):
            raise ValueError(f"`transport` must be a `Transport`, got {type(transport).__name__}.")
        kappa = known_number(kappa, "kappa")
        if kappa == 0 or not jnp.isfinite(kappa):
            raise ValueError(f"`kappa` must be finite and not zero, got {kappa:g}; without it take the `Transport`.")
        self.transport, self.kappa = transport, kappa

    @property
    def dim(self) -> int | None:
        return self.transport.dim

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        return self.transport(t, x, p) - self.kappa * dot(p, p)

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$|v_i(t, x)| + 2|\kappa| \max |p_i|$: see `HasSpeedBound`."""
        steepest = jnp.maximum(jnp.abs(box.lower), jnp.abs(box.upper))
        return self.transport.speed_bound(t, x, box) + 2 * abs(self.kappa) * steepest
