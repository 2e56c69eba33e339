"""A modern Hopfield network: descent of a Hamilton-Jacobi solution, towards its foot points."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, positive_scalar, require_finite

from ._abstract import require_positive
from ._architecture import AbstractArchitecture
from ._attention_potential import attention_atoms, attention_potential


@final
class Hopfield(AbstractArchitecture):
    r"""Retrieval of patterns $p_j$ by $x \leftarrow \sum_j \pi_j(x)\,p_j$, $\pi = \mathrm{softmax}(\beta\,p \cdot x)$.

    Its energy

    $$E(x) = \tfrac12 |x|^2 - \beta^{-1} \log \sum_j e^{\beta\,p_j \cdot x}$$

    is the solution of $u_t + |\nabla u|^2 = \beta^{-1} \Delta u$ at $t = \frac12$, without the normalising constant,
    from the atoms of heights $-|p_j|^2/2$ at the patterns. One update is $x - \nabla E(x)$: the foot point, explicit
    Euler with $h = 1$ of the gradient flow $\dot x = -\nabla E$, and a step of the concave-convex procedure. As $E$
    lies below the parabola that touches it at `x` and is least at the update, it falls along every step of size
    $h \in (0, 2)$.

    Such a step is as long as the time in which the flow relaxes: formally Euler, and not close to the flow.

    ??? cite "References"

        H. Ramsauer et al., *Hopfield Networks is All You Need*, ICLR 2021. A. L. Yuille and A. Rangarajan, *The
        Concave-Convex Procedure*, Neural Computation 15 (2003).
    """

    patterns: Float[Array, "N d"]
    beta: Float[Array, ""]
    depth: int = eqx.field(static=True)

    def __init__(self, patterns: ArrayInput, beta: ScalarLike = 1.0, depth: int = 1):
        r"""**Arguments:**

        - `patterns`: shape `(N, d)`, finite.
        - `beta`: $\beta > 0$, an inverse temperature.
        - `depth`: the number of updates.

        **Raises:** `ValueError` for another shape, no pattern, or an argument out of its range.
        """
        patterns = as_float_array(patterns, "patterns", 2)
        if patterns.size == 0:
            raise ValueError(f"`patterns` must have shape (N, d) with N, d >= 1, got {patterns.shape}.")
        require_finite(patterns, "patterns")
        require_positive(depth=depth)
        self.patterns, self.depth = patterns, depth
        self.beta = positive_scalar(beta, "beta", patterns.dtype)

    @property
    def layer_count(self) -> int:
        return self.depth

    @property
    def layer_time(self) -> float:
        return 1.0

    @property
    def input_ndim(self) -> int:
        return 1

    @property
    def scheme(self) -> str:
        return "explicit Euler of a gradient flow, with the step of its relaxation"

    @property
    def expected_order(self) -> float:
        return 1.0

    def energy(self, x: Float[Array, " d"]) -> Scalar:
        """$E(x)$, in squared units of `x`."""
        return jnp.sum(x**2) / 2 - attention_potential(x, self.patterns, temperature=1 / self.beta)

    def gibbs(self, x: Float[Array, " d"]) -> Float[Array, " N"]:
        r"""The weights $\pi_j(x)$ of the patterns."""
        return jax.nn.softmax(self.beta * (self.patterns @ x))

    def update(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""$\sum_j \pi_j(x)\,p_j$."""
        return self.gibbs(x) @ self.patterns

    def atoms(self) -> tuple[Float[Array, "N d"], Float[Array, " N"]]:
        r"""Positions and heights of the atoms: $E$ is their solution at $t = \frac12$, $\varepsilon = 1/\beta$."""
        return attention_atoms(self.patterns)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The state after `depth` updates."""
        return jax.lax.fori_loop(0, self.depth, lambda _, z: self.update(z), x)

    def start(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x

    def layers(self, x: Float[Array, " d"] | None) -> None:
        return None

    def velocity(self, s: ScalarLike, z: Float[Array, " d"], layer: None) -> Float[Array, " d"]:
        return self.update(z) - z

    def step(self, s: ScalarLike, z: Float[Array, " d"], h: ScalarLike, layer: None) -> Float[Array, " d"]:
        return z + h * self.velocity(s, z, layer)

    def settle(self, z: Float[Array, " d"], layer: None) -> Float[Array, " d"]:
        return z

    def finish(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        return z
