"""A log-sum-exp layer beside the equation that it solves."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._comparison import ComparisonReport
from hjpde._problem import InitialValueProblem
from hjpde._solve import solve
from hjpde._types import Scalar
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import LogSumExp
from hjpde.solvers import HopfCole


def compare_layer(layer: LogSumExp, X: Float[Array, "M d"], refinements: Sequence[int]) -> ComparisonReport:
    r"""The layer against $|x|^2/4t - u(t, x)$ at the times $t = 1/n$, `u` grown from its atoms by `HopfCole`.

    The time is a gauge, so that no error may depend on it. The backward pass is compared with the co-state:
    $W^\top \pi = x/2t - \nabla u$.

    **Arguments:**

    - `layer`: the layer.
    - `X`: points, shape `(M, d)`.
    - `refinements`: the numbers `n`.

    **Raises:** `ValueError` if the dimensions disagree.
    """
    N, d = layer.weights.shape
    if X.shape[1] != d:
        raise ValueError(f"`x` must have {d} entries a point, as the layer's weights, got {X.shape[1]}.")
    for name, leaf in (("weights", layer.weights), ("biases", layer.biases)):
        if np.any(np.isnan(np.asarray(leaf))):
            raise ValueError(f"`architecture`: the {name} hold NaN.")
    X = X.astype(layer.weights.dtype)
    values, slopes = _plain(layer, X)
    passes = [_by_the_equation(layer, X, jnp.asarray(1.0 / n, X.dtype)) for n in refinements]
    forward = np.asarray([float(jnp.mean(jnp.abs(f - values))) for f, _, _ in passes])
    gradient = np.asarray([float(jnp.mean(jnp.linalg.norm(p - slopes, axis=1))) for _, p, _ in passes])
    # Of the two terms whose difference the layer is, the rounding counts.
    sizes = [jnp.mean(jnp.abs(X) ** 2) * d * n / 4 + jnp.mean(jnp.abs(values)) for n in refinements]
    rounding = 50 * float(jnp.finfo(X.dtype).eps) * float(max(sizes))
    largest = float(jnp.max(jnp.abs(slopes)))
    scale = float(jnp.mean(jnp.abs(values))) or 1.0
    epsilon = float(layer.viscosity)
    viscosity = epsilon * np.eye(d)
    # Value and slopes at every neuron: two products with W, an exponential and a sum.
    operations = float(4 * N * d + 6 * N)
    return ComparisonReport(
        architecture="LogSumExp",
        scheme="the Hopf-Cole formula of u_t + |∇u|² = ε Δu",
        expected_order=np.inf,
        depth=1,
        state_size=d,
        parameters=int(layer.weights.size + layer.biases.size + 1),
        inputs=X.shape[0],
        n=tuple(refinements),
        forward_error=forward,
        gradient_error=gradient,
        parameter_error=np.asarray([float(_weights_gap(layer, X, jnp.asarray(1.0 / n, X.dtype))) for n in refinements]),
        flops=np.full(len(refinements), operations),
        forward_order=np.inf if max(forward) <= rounding else np.nan,
        gradient_order=np.inf if max(gradient) <= rounding * max(1.0, largest) else np.nan,
        parameter_order=np.inf,
        network_residual=float(forward[0]) / scale,
        costate_residual=float(jnp.max(jnp.abs(passes[0][1] - slopes))) / (largest or 1.0),
        native_gap=float(forward[0]),
        relative_gap=float(forward[0]) / scale,
        effective_viscosity=viscosity,
        predicted_viscosity=viscosity,
        drift_correction=float(jnp.mean(passes[0][2])),
        mean_speed=float(jnp.mean(jnp.linalg.norm(2 * (X / 2 - slopes), axis=1))),
        roughness=0.0,
        min_determinant=None,
        rounding=rounding,
        layer_time=1.0,
    )


@eqx.filter_jit
def _plain(layer: LogSumExp, X: Float[Array, "M d"]) -> tuple[Array, Array]:
    """The layer written out, and backpropagation through it."""

    def f(x: Float[Array, " d"]) -> Scalar:
        return layer.viscosity * jax.nn.logsumexp((layer.weights @ x + layer.biases) / layer.viscosity)

    return jax.vmap(jax.value_and_grad(f))(X)


@eqx.filter_jit
def _by_the_equation(layer: LogSumExp, X: Float[Array, "M d"], t: Scalar) -> tuple[Array, Array, Array]:
    r"""$|x|^2/4t - u$, its gradient by the co-state, and how far $x - 2t\nabla u$ is from the mean atom, over 2t."""
    problem = InitialValueProblem(layer.atoms(t), Quadratic(), layer.viscosity)
    solution = solve(problem, t, HopfCole(normalised=False))
    costates = jax.vmap(lambda x: solution.gradient(t, x))(X)
    values = jnp.sum(X**2, axis=1) / (4 * t) - solution.batch(t, X)
    positions = layer.atoms(t).positions
    means = jax.vmap(lambda x: layer.gibbs(x) @ positions)(X)
    feet = X - 2 * t * costates
    return values, X / (2 * t) - costates, jnp.linalg.norm(feet - means, axis=1) / (2 * t)


@eqx.filter_jit
def _weights_gap(layer: LogSumExp, X: Float[Array, "M d"], t: Scalar) -> Scalar:
    """The difference of the mean value's derivatives in the weights and biases, through either reading."""

    def parameters(function):
        return jax.grad(lambda wb: jnp.mean(function(LogSumExp(wb[0], wb[1], layer.viscosity))))(
            (layer.weights, layer.biases)
        )

    network = parameters(lambda layer: _plain(layer, X)[0])
    equation = parameters(lambda layer: _by_the_equation(layer, X, t)[0])
    gaps = [jnp.sum((a - b) ** 2) for a, b in zip(network, equation, strict=True)]
    return jnp.sqrt(gaps[0] + gaps[1])
