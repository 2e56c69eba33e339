"""Networks whose activation and learning are a Klein-Gordon field on a ring."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import (
    ArrayInput,
    Scalar,
    ScalarLike,
    as_float_array,
    is_concrete,
    positive_scalar,
    require_finite,
    require_symmetric,
)

from ._duality import AbstractLearningSystem

LEARNING_RULES = ("identity", "commuting")


def klein_gordon_operator(
    sites: int, *, spacing: ScalarLike, step: ScalarLike, mass: ScalarLike, speed: ScalarLike = 1.0
) -> Float[Array, "N N"]:
    r"""The operator $A = \varepsilon^2 (m^2 - c^2 \Delta_a)$ of a field on a ring, $\Delta_a$ the lattice Laplacian.

    **Arguments:**

    - `sites`: `N`, at least 3.
    - `spacing`: $a > 0$. - `step`: $\varepsilon > 0$, in units of time.
    - `mass`: `m`, in units of 1/time, may be traced. - `speed`: `c`, in units of length/time, may be traced.

    **Raises:** `ValueError` for too few sites, or `spacing` or `step` that is not positive.
    """
    if sites < 3:
        raise ValueError(f"`sites` must be at least 3, got {sites}.")
    dtype = jnp.result_type(float)
    a, eps = positive_scalar(spacing, "spacing", dtype), positive_scalar(step, "step", dtype)
    one = np.eye(sites)
    differences = jnp.asarray(np.roll(one, 1, 0) + np.roll(one, -1, 0) - 2 * one, dtype)
    m, c = jnp.asarray(mass, dtype), jnp.asarray(speed, dtype)
    return eps**2 * (m**2 * jnp.asarray(one, dtype) - (c / a) ** 2 * differences)


@final
class KleinGordon(AbstractLearningSystem):
    r"""A network that obeys $\varphi_{t+1} - 2\varphi_t + \varphi_{t-1} = -A \varphi_t$ with a symmetric operator `A`.

    Two learning rules give that same equation; both have the activation $\varphi' = W\varphi + \beta$.

    - `"identity"`: $W = 1$ and $H = \tfrac12 \varphi' \cdot A \varphi'$, so that $\beta' = \beta - A\varphi'$.
    - `"commuting"`: $W = 1 - A$ and $H = \tfrac12 \varphi' \cdot B\varphi' - \tfrac12 \beta \cdot B\beta$ with
      $B = A W^{-1}$, so that $\beta' = \beta - A\varphi$; needs `A` and `W` to be symmetric and to commute.

    Either step is symplectic in $(\varphi, \beta)$, and stable exactly if all eigenvalues of `A` lie in $(0, 4)$. An
    antisymmetric part of `A` would be lost: the gradient of a quadratic form knows its symmetric part alone.
    """

    operator: Float[Array, "N N"]
    weights: Float[Array, "N N"]
    metric: Float[Array, "N N"]
    rule: str = eqx.field(static=True)

    def __init__(self, operator: ArrayInput, rule: str = "identity"):
        """**Arguments:**

        - `operator`: `A`, shape `(N, N)`, for instance from `klein_gordon_operator`; may be traced.
        - `rule`: which of the two.

        **Raises:** `ValueError` for an unknown rule, an operator that is not square, symmetric and finite, an unstable
        step (an eigenvalue above 4 or below 0), or weights that cannot be inverted under `"commuting"`.
        """
        if rule not in LEARNING_RULES:
            raise ValueError(f"`rule` must be 'identity' or 'commuting', got {rule!r}.")
        A = as_float_array(operator, "operator", 2)
        if A.shape[0] != A.shape[1]:
            raise ValueError(f"`operator` must be square, got shape {A.shape}.")
        require_finite(A, "operator")
        require_symmetric(A, "operator")
        if is_concrete(A):
            _check_stability(np.linalg.eigvalsh(np.asarray(A)), rule)
        one = jnp.asarray(np.eye(A.shape[0]), A.dtype)
        self.operator = A
        self.weights = one if rule == "identity" else one - A
        self.metric = A if rule == "identity" else jnp.linalg.solve(one - A, A)
        self.rule = rule

    def activate(self, phi: Float[Array, " N"], beta: Float[Array, " N"]) -> Float[Array, " N"]:
        return self.weights @ phi + beta

    def loss(self, phi: Float[Array, " N"], beta: Float[Array, " N"]) -> Scalar:
        potential = phi @ self.metric @ phi / 2
        return potential if self.rule == "identity" else potential - beta @ self.metric @ beta / 2

    def start(self, before: ArrayInput, now: ArrayInput) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        r"""The state with $\varphi_0$ `before` and $\varphi_1$ `now`: $\beta_0 = \varphi_1 - W\varphi_0$."""
        first, second = (as_float_array(v, name, 1) for v, name in ((before, "before"), (now, "now")))
        if not first.shape == second.shape == (self.operator.shape[0],):
            raise ValueError(
                f"`before` and `now` must have shape {self.operator.shape[:1]}, got {first.shape} and {second.shape}."
            )
        return first, second - self.weights @ first

    def energy(self, phi: Float[Array, "*batch N"], beta: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
        r"""What a step of the rule `"identity"` conserves, $\tfrac12|\beta|^2 + \tfrac12\varphi\cdot A\varphi +
        \tfrac12\varphi\cdot A\beta$."""
        force = phi @ self.operator
        return (jnp.sum(beta * beta, -1) + jnp.sum(force * (phi + beta), -1)) / 2


def _check_stability(eigenvalues: np.ndarray, rule: str) -> None:
    if not eigenvalues.max() < 4:
        raise ValueError(
            f"The step is unstable: the largest eigenvalue of `operator` must be below 4, got {eigenvalues.max():.4g}. "
            "Take a smaller `step` (it enters squared), or a wider `spacing`."
        )
    if eigenvalues.min() < -1e3 * np.finfo(eigenvalues.dtype).eps:
        raise ValueError(f"`operator` must have no negative eigenvalue, got {eigenvalues.min():.4g}: its modes grow.")
    distance = np.abs(eigenvalues - 1).min()
    if rule == "commuting" and distance < 1e3 * np.finfo(eigenvalues.dtype).eps:
        raise ValueError("`operator` has the eigenvalue 1, where W = 1 - A has no inverse: change `step` a little.")
