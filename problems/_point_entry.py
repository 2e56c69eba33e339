"""One line of the catalogue for a problem in many dimensions, where there is no grid: it is solved point by point."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._abstract import AbstractExactProblem
from ._entry import Reference


@dataclasses.dataclass(frozen=True)
class PointEntry:
    """A problem of the catalogue that is solved at random points of a cube, by what `hjpde.solve` takes by itself.

    **Arguments:**

    - `name`: the name on the command line.
    - `title`, `equation`, `source`: for people, one line each.
    - `reference`: "exact" for a closed form, "computed" for one found to rounding.
    - `make`: the problem's class, called without arguments.
    - `dim`: the dimension of the points.
    - `time`: the time at which it is solved, in the problem's units.
    - `reach`: the points lie in the cube $[-r, r]^d$, drawn towards its centre.
    - `counts`: how many points, few to many, for the table.
    - `expected`: what error to expect, and why.
    """

    name: str
    title: str
    equation: str
    source: str
    reference: Reference
    make: Callable[[], AbstractExactProblem]
    dim: int
    time: float
    reach: float
    expected: str
    counts: tuple[int, int, int] = (64, 256, 1024)

    def build(self) -> AbstractExactProblem:
        """The problem."""
        return self.make()

    def points(self, n: int) -> Float[Array, "n d"]:
        """`n` points of a cube whose size is random for each, so that some are near the centre in any dimension.

        They are the first of one sequence, the same at any precision.
        """
        sides, places = np.split(np.random.default_rng(0).uniform(size=(n, self.dim + 1)), [1], axis=1)
        return jnp.asarray(self.reach * sides * (2 * places - 1), jnp.result_type(float))

    def segment(self, n: int) -> tuple[Float[np.ndarray, " n"], Float[Array, "n d"]]:
        """Points on a line through the origin that reaches as far as most points: their places on it, and they."""
        direction = np.random.default_rng(1).normal(size=self.dim)
        places = np.linspace(-1, 1, n) * self.reach * np.sqrt(self.dim / 3)
        points = places[:, None] * (direction / np.linalg.norm(direction))[None, :]
        return places, jnp.asarray(points, jnp.result_type(float))
