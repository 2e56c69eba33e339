"""Activations and the log-sum-exp layers behind them: which are solutions, gradients, or other derivatives of one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from hjpde._plotting import CYCLE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, as_float_array
from hjpde.initial_data import LogSumExp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Class = Literal["solution", "gradient", "viscosity derivative", "heat derivative"]

_STYLES = ("-", "--", "-.", ":")
# Gauss-Legendre nodes on the half line where ReLU is positive, cut off where the Gaussian is below rounding.
_NODES, _CUT = 64, 12.0
# Three neurons, at a viscosity and a time that are not 1.
_WEIGHTS, _BIASES, _EPS, _TIME = (-1.0, 0.3, 1.5), (0.2, 0.5, -0.4), 0.6, 0.75


@final
class Activation(NamedTuple):
    r"""A row of the table.

    - `name`: of the activation.
    - `limit`: what it tends to as $\varepsilon \to 0$, in words.
    - `source`: whether the source calls it an exact Hamilton-Jacobi object, `"yes"` or `"open"`.
    - `kind`: of which derivative of a solution it is here.
    - `identity`: the formula.
    - `by_layer`: the right-hand side of the identity from log-sum-exp layers or the heat flow, at points `(M,)`.
    - `direct`: the activation itself, as libraries define it.
    """

    name: str
    limit: str
    source: Literal["yes", "open"]
    kind: Class
    identity: str
    by_layer: Callable[[Array], Array]
    direct: Callable[[Array], Array]

    def residual(self, x: ArrayInput) -> float:
        """The largest difference of the two sides of the identity over points of shape `(M,)`."""
        x = as_float_array(x, "x", 1)
        return float(jnp.abs(self.by_layer(x) - self.direct(x)).max())


def softplus_layer(x: Array, viscosity: ScalarLike = 1.0) -> Array:
    r"""$F(\varepsilon, x) = \mathrm{LSE}_\varepsilon(x, 0) = \varepsilon\log(e^{x/\varepsilon} + 1)$ at one number."""
    return _layer_at(x, [[1.0], [0.0]], viscosity)


def heat_flow_of_relu(x: Array, s: ScalarLike) -> Array:
    r"""The heat flow of ReLU for a time `s`, by quadrature:
    $(e^{(s/2)\partial_{xx}} \mathrm{ReLU})(x) = \int_{-x/\sqrt s}^\infty (x + \sqrt s\,z)\,\varphi(z)\,dz$.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    root = jnp.sqrt(s)
    low = jnp.clip(-x / root, -_CUT, _CUT)
    z = low + (_CUT - low) * (jnp.asarray(nodes, x.dtype) + 1) / 2
    density = jnp.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return jnp.sum(jnp.asarray(weights, x.dtype) * (x + root * z) * density) * (_CUT - low) / 2


def _layer_at(x: Array, weights: list[list[float]], viscosity: ScalarLike) -> Array:
    rows = jnp.asarray(weights, x.dtype)
    return LogSumExp(rows, jnp.zeros(len(weights), x.dtype), jnp.asarray(viscosity, x.dtype))(x[None])


def _relu_from_two_atoms(x: Array) -> Array:
    r"""$x^2/4t - \min_j (g_j + (x - y_j)^2/4t)$ with $y = (2t, 0)$, $g = (-t, 0)$."""
    t = _TIME
    y, g = jnp.asarray([2 * t, 0.0], x.dtype), jnp.asarray([-t, 0.0], x.dtype)
    return x**2 / (4 * t) - jnp.min(g + (x - y) ** 2 / (4 * t))


def _three_neurons(x: Array) -> Array:
    return LogSumExp(jnp.asarray(_WEIGHTS, x.dtype)[:, None], jnp.asarray(_BIASES, x.dtype), _EPS)(x[None])


def _three_atoms(x: Array) -> Array:
    W, b = jnp.asarray(_WEIGHTS, x.dtype), jnp.asarray(_BIASES, x.dtype)
    y, g = 2 * _TIME * W, -b - _TIME * W**2
    u = -_EPS * jax.nn.logsumexp(-(g + (x - y) ** 2 / (4 * _TIME)) / _EPS)
    return x**2 / (4 * _TIME) - u


def _silu(x: Array) -> Array:
    slope = jax.grad(softplus_layer, argnums=1)(x, jnp.ones((), x.dtype))
    return softplus_layer(x) - slope


def _gelu(x: Array) -> Array:
    one = jnp.ones((), x.dtype)
    value, rate = jax.jvp(lambda s: heat_flow_of_relu(x, s), (one,), (one,))
    return value - 2 * rate


def _sign_layer(x: Array) -> Array:
    return _layer_at(x, [[1.0], [-1.0]], 1.0)


def activation_table() -> tuple[Activation, ...]:
    r"""The activations of the source's table (LSE on three neurons), each with an identity that holds to rounding.

    The last two rows, which the source leaves open, are derivatives of a solution too, though not solutions
    themselves; both identities are this project's own:

    $$\mathrm{SiLU}(x) = \Bigl(1 - \varepsilon\,\partial_\varepsilon\Bigr) F(\varepsilon, x)\Big|_{\varepsilon=1},
    \qquad \mathrm{GELU}(x) = \Bigl(1 - 2 s\,\partial_s\Bigr)\, e^{(s/2)\partial_{xx}}\,\mathrm{ReLU}(x)\Big|_{s=1}.$$

    The first: $\partial_\varepsilon F$ is the entropy $S$ of the Gibbs weights $(\sigma, 1 - \sigma)$, and
    $F = \langle\pi, z\rangle + \varepsilon S$ with $\langle\pi, z\rangle = x\sigma(x)$: SiLU is the mean energy where
    softplus is the free energy. The second: $R(s, x) = x\Phi(x/\sqrt s) + \sqrt s\,\varphi(x/\sqrt s)$ solves the heat
    equation $R_s = \tfrac12 R_{xx} = \varphi(x/\sqrt s)/(2\sqrt s)$, and $R - 2sR_s = x\Phi(x/\sqrt s)$.
    """
    on = jax.vmap
    return (
        Activation("LSE", "maximum", "yes", "solution", "x²/4t − u, u grown from atoms y = 2tW, g = −b − t|W|²",
                   on(_three_atoms), on(_three_neurons)),
        Activation("ReLU", "itself", "yes", "solution", "x²/4t − min over atoms y = (2t, 0), g = (−t, 0)",
                   on(_relu_from_two_atoms), lambda x: jnp.maximum(x, 0)),
        Activation("softplus", "ReLU", "yes", "solution", "LSE₁(x, 0)", on(softplus_layer), jax.nn.softplus),
        Activation("sigmoid", "Heaviside step", "yes", "gradient", "∂ₓ LSE₁(x, 0)",
                   on(jax.grad(softplus_layer)), jax.nn.sigmoid),
        Activation("tanh", "sign", "yes", "gradient", "∂ₓ LSE₁(x, −x)", on(jax.grad(_sign_layer)), jnp.tanh),
        Activation("SiLU", "ReLU", "open", "viscosity derivative", "(1 − ε ∂_ε) LSE_ε(x, 0) at ε = 1",
                   on(_silu), jax.nn.silu),
        Activation("GELU", "ReLU", "open", "heat derivative", "(1 − 2s ∂_s) exp(½ s ∂ₓₓ) ReLU at s = 1",
                   on(_gelu), lambda x: jax.nn.gelu(x, approximate=False)),
    )  # fmt: skip


def plot_activations(table: tuple[Activation, ...], ax: "Axes | None" = None) -> "Axes":
    """The activations over $[-4, 4]$, each as its identity gives it.

    **Arguments:** `table`, of `activation_table`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    x = jnp.linspace(-4.0, 4.0, 161)
    for k, row in enumerate(table):
        style = _STYLES[k % len(_STYLES)]
        ax.plot(x, row.by_layer(x), style, color=CYCLE[k % len(CYCLE)], label=f"{row.name} = {row.identity}")
    ax.set_xlabel("x")
    ax.set_ylabel("activation")
    ax.legend(frameon=False, fontsize=6.5)
    tidy(ax, "both")
    return ax
