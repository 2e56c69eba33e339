"""The modes of training near a point: which decay, which oscillate, and how fast."""

from typing import TYPE_CHECKING, Any, cast, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Complex, Float, PyTree
from scipy.sparse.linalg import LinearOperator, eigsh

from hjpde._plotting import BLACK, BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike

from ._damped_dynamics import DampedDynamics, at_rest, positive_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_operator = cast(Any, LinearOperator)  # whose stubs know the subclasses' constructors alone
_DENSE = 64
"""Parameters up to which the Hessian is formed, as Lanczos' method needs more of them than modes."""


@final
class Modes(eqx.Module):
    r"""Solutions $e^{st}$ of $\ddot q + \gamma\dot q + \lambda q = 0$ along eigenvectors of the Hessian.

    - `curvatures`: the eigenvalues $\lambda$, falling, shape `(k,)`, in units of the cost per squared parameter.
    - `rates`: $s_\pm = -\gamma/2 \pm \sqrt{\gamma^2/4 - \lambda}$, shape `(k, 2)`, the slow one first.
    - `friction`: $\gamma$.
    """

    curvatures: Float[np.ndarray, " k"]
    rates: Complex[np.ndarray, "k 2"]
    friction: float

    @property
    def overdamped(self) -> Bool[np.ndarray, " k"]:
        r"""Whether a mode does not oscillate: $\lambda \le \gamma^2/4$, or $\lambda\eta^2 \le 1/4$."""
        return self.curvatures <= self.friction**2 / 4


def mode_rates(curvatures: ArrayInput, friction: ScalarLike) -> Modes:
    r"""The rates of modes with given curvatures; for a field of mass $m$, $\lambda = m^2$.

    For $\lambda \ll \gamma^2$ the slow rate is computed without cancellation, as $-\lambda/(\gamma/2 +
    \sqrt{\gamma^2/4 - \lambda})$.

    **Arguments:**

    - `curvatures`: $\lambda$, shape `(k,)`; negative ones are directions in which the cost falls, and grow.
    - `friction`: $\gamma > 0$.

    **Returns:** the modes in order of falling curvature.

    **Raises:** `ValueError` if a number is not finite or `friction` is not positive.
    """
    friction = positive_number(friction, "friction")
    curvatures = np.sort(np.asarray(curvatures, float))[::-1]
    if curvatures.ndim != 1 or not np.all(np.isfinite(curvatures)):
        raise ValueError(f"`curvatures` must be finite and have shape (k,), got {curvatures}.")
    fast = -friction / 2 - np.sqrt(friction**2 / 4 - curvatures.astype(complex))
    return Modes(curvatures, np.stack([curvatures / fast, fast], axis=1), friction)


def training_modes(
    dynamics: DampedDynamics, theta: PyTree, *, count: int = 20, t: ScalarLike = 0.0, which: str = "largest"
) -> Modes:
    r"""The modes of training about parameters, from the extreme eigenvalues of the Hessian of the cost.

    Lanczos' method on Hessian-vector products, each of the cost of about two gradients; the Hessian is not formed.
    Modes are solutions near a critical point; elsewhere they say how perturbations begin.

    **Arguments:**

    - `dynamics`: the cost, twice differentiable, and the friction.
    - `theta`: parameters: a tree of arrays or an Equinox module.
    - `count`: how many modes, at least 1.
    - `t`: the time, for a cost that depends on it.
    - `which`: `"largest"` or `"smallest"` curvatures, or from `"both"` ends. In float32 small ones drown in the
      rounding of the largest.

    **Raises:** `ValueError` if `count` is not from 1 to the number of parameters, or `which` is another word.

    ??? cite "References"

        B. Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6 (1994), 147-160.
    """
    ends = {"largest": "LA", "smallest": "SA", "both": "BE"}
    if which not in ends:
        raise ValueError(f"`which` must be one of {tuple(ends)}, got {which!r}.")
    at_rest(theta)
    parameters, rest = eqx.partition(theta, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(parameters)
    if not 1 <= count <= flat.size:
        raise ValueError(f"`count` must be from 1 to the {flat.size} parameters, got {count}.")

    def gradient(x):
        return ravel_pytree(dynamics.gradient(t, eqx.combine(unravel(x), rest)))[0]

    product = jax.jit(lambda v: jax.jvp(gradient, (flat,), (v.astype(flat.dtype),))[1])
    if flat.size <= _DENSE or count >= flat.size:
        curvatures = np.linalg.eigvalsh(np.asarray(jax.vmap(product)(jnp.eye(flat.size, dtype=flat.dtype))))
        top, bottom = {"largest": (count, 0), "smallest": (0, count)}.get(which, ((count + 1) // 2, count // 2))
        curvatures = np.concatenate([curvatures[:bottom], curvatures[flat.size - top :]])
    else:
        hessian = _operator((flat.size,) * 2, matvec=lambda v: np.asarray(product(v.ravel())), dtype=flat.dtype)
        start = np.random.default_rng(0).normal(size=flat.size).astype(flat.dtype)
        curvatures = eigsh(hessian, k=count, which=ends[which], v0=start, return_eigenvectors=False)
    return mode_rates(curvatures, float(dynamics.friction))


def plot_modes(modes: Modes, ax: "Axes | None" = None) -> "Axes":
    r"""How fast each mode decays (the slow rate's real part) and turns (its imaginary part), against its curvature.

    Left of $\gamma^2/4$ modes decay at about $\lambda/\gamma$, as under gradient descent; right of it all decay at
    $\gamma/2$ and oscillate. Only positive curvatures have a place.

    **Arguments:** `modes`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    tidy(ax)
    curvature, slow = modes.curvatures, modes.rates[:, 0]
    shown, turning = curvature > 0, ~modes.overdamped
    ax.loglog(curvature[shown], -np.real(slow)[shown], "o", color=BLUE, markersize=5, label="decay")
    ax.loglog(curvature[turning], np.abs(np.imag(slow))[turning], "^", color=ORANGE, markersize=6, label="oscillation")
    if shown.any():
        ends = np.array([curvature[shown].min(), curvature.max()])
        ax.loglog(ends, ends / modes.friction, ":", color=BLACK, linewidth=1.2, label="gradient descent, λ/γ")
    ax.axvline(modes.friction**2 / 4, color=BLACK, linestyle="--", linewidth=1.0, label="λ = γ²/4")
    ax.set(xlabel="curvature λ [cost / parameter²]", ylabel="rate [1 / time]")
    ax.legend(frameon=False, fontsize=9)
    return ax
