"""The soft minimum, and the temperature that it is taken at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike, is_concrete, known_number


def soft_minimum(values: Float[Array, " N"], viscosity: Scalar) -> Scalar:
    r"""$-\varepsilon \log \sum_j e^{-v_j/\varepsilon}$, and $\min_j v_j$ at $\varepsilon = 0$.

    Derivatives are finite at both: the unused branch is evaluated at temperature 1.
    """
    positive = viscosity > 0
    temperature = jnp.where(positive, viscosity, 1)
    soft = -temperature * jax.nn.logsumexp(-values / temperature)
    return jnp.where(positive, soft, jnp.min(values))


def as_temperature(viscosity: ScalarLike | None, name: str, dtype: jnp.dtype) -> tuple[Scalar | None, bool]:
    """`viscosity` as a scalar of the datum's dtype, or `None` where the problem is to say; and whether it is 0.

    **Raises:** `ValueError` if it is known now and is negative or not finite.
    """
    if viscosity is None:
        return None, False
    if np.ndim(viscosity) != 0:
        raise ValueError(f"`{name}` must be a scalar, got shape {np.shape(viscosity)}.")
    if not is_concrete(viscosity):
        return jnp.asarray(viscosity, dtype), False
    number = known_number(viscosity, name)
    if not 0 <= number < float("inf"):
        raise ValueError(f"`{name}` must be finite and not negative, got {number:g}.")
    return jnp.asarray(viscosity, dtype), number == 0


def require_temperature(viscosity: Scalar | None, owner: str) -> Scalar:
    """The datum's temperature, or a `ValueError` that says where it comes from."""
    if viscosity is None:
        raise ValueError(
            f"`{owner}` has no temperature of its own: give `viscosity`, or put it into an "
            "`InitialValueProblem`, whose `initial_data` then carries the problem's."
        )
    return viscosity
