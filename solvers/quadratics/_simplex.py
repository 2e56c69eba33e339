"""Projection onto the simplex, and maximisation of a smooth function over it, with a duality gap."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hjpde._types import Scalar


def project_onto_simplex(v: Float[Array, " N"], total: Scalar | float = 1.0) -> Float[Array, " N"]:
    """The nearest vector of numbers that are not negative and sum to `total`, by sorting; keeps the dtype.

    ??? cite "References"

        J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, *Efficient projections onto the l1-ball for learning in
        high dimensions*, ICML, 2008.
    """
    falling = jnp.sort(v)[::-1]
    excess = jnp.cumsum(falling) - jnp.asarray(total, v.dtype)
    counts = jnp.arange(1, v.shape[0] + 1).astype(v.dtype)
    last = jnp.sum(falling * counts > excess) - 1
    return jnp.maximum(v - excess[last] / counts[last], 0)


def maximise_over_simplex(
    f: Callable[[Float[Array, " N"]], Scalar], start: Float[Array, " N"], max_steps: int
) -> tuple[Float[Array, " N"], Scalar]:
    r"""Accelerated projected gradient ascent with backtracking and restarts.

    **Arguments:**

    - `f`: the function; the gap is a certificate if it is concave.
    - `start`: simplex weights, shape `(N,)`.
    - `max_steps`: the largest number of steps.

    **Returns:** the weights, and the gap $\max_i \partial_i f - \alpha \cdot \nabla f \ge \max f - f(\alpha)$.

    ??? cite "References"

        A. Beck and M. Teboulle, *A fast iterative shrinkage-thresholding algorithm for linear inverse problems*,
        SIAM J. Imaging Sci. 2(1), 2009; B. O'Donoghue and E. Candes, *Adaptive restart for accelerated gradient
        schemes*, Found. Comput. Math. 15, 2015.
    """
    dtype = start.dtype
    tolerance = 4 * jnp.finfo(dtype).eps

    def gap(alpha: Float[Array, " N"]) -> Scalar:
        slope = jax.grad(f)(alpha)
        return jnp.max(slope) - alpha @ slope

    def ascend(point: Float[Array, " N"], stiffness: Scalar) -> tuple[Float[Array, " N"], Scalar]:
        value, slope = jax.value_and_grad(f)(point)

        def step(L: Scalar) -> Float[Array, " N"]:
            return project_onto_simplex(point + slope / L)

        def too_long(L: Scalar) -> Bool[Array, ""]:
            move = step(L) - point
            model = value + slope @ move - L / 2 * (move @ move)
            return (f(step(L)) < model - tolerance * jnp.abs(value)) & (L < 1e30)

        stiffness = jax.lax.while_loop(too_long, lambda L: 2 * L, stiffness)
        return step(stiffness), stiffness

    def body(state):
        k, alpha, momentum, theta, stiffness, _ = state
        new, stiffness = ascend(momentum, stiffness)
        improved = f(new) >= f(alpha)
        theta_new = (1 + jnp.sqrt(1 + 4 * theta**2)) / 2
        pushed = new + (theta - 1) / theta_new * (new - alpha)
        alpha = jnp.where(improved, new, alpha)
        momentum = jnp.where(improved, pushed, alpha)
        theta = jnp.where(improved, theta_new, jnp.ones_like(theta))
        return k + 1, alpha, momentum, theta, stiffness * 0.95, gap(alpha)

    def unfinished(state):
        k, alpha, *_, left = state
        return (k < max_steps) & (left > tolerance * (1 + jnp.abs(f(alpha))))

    one = jnp.ones((), dtype)
    state = jax.lax.while_loop(unfinished, body, (0, start, start, one, one, gap(start)))
    return state[1], state[-1]
