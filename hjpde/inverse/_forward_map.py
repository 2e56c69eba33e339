"""The forward map of an inverse problem: from the unknowns to what is observed."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._observations import Samples
from hjpde._problem import InitialValueProblem
from hjpde.solvers import AbstractSolver

from ._unknowns import Unknowns

_FEW_TIMES = 8
_BLOCK = 256


@final
class ForwardMap(eqx.Module):
    r"""$F(z)_i = u(t_i, x_i)$ for the problem of the coordinates `z`, solved by one solver.

    The samples are sorted by time: `u`, the values observed, and all that `F` returns are in that order.
    """

    unknowns: Unknowns
    solver: AbstractSolver
    ts: Float[Array, " T"]
    t: Float[Array, " n"]
    x: Float[Array, "n d"]
    u: Float[Array, " n"]
    counts: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, unknowns: Unknowns, solver: AbstractSolver, samples: Samples):
        """**Arguments:**

        - `unknowns`: what is asked for.
        - `solver`: a member of `hjpde.solvers` that applies to their problem.
        - `samples`: what was observed.
        """
        times = np.asarray(samples.t)
        order = np.argsort(times, kind="stable")
        distinct, counts = np.unique(times, return_counts=True)
        self.unknowns, self.solver = unknowns, solver
        self.ts, self.counts = jnp.asarray(distinct), tuple(int(count) for count in counts)
        self.t, self.x, self.u = samples.t[order], samples.x[order], samples.u[order]

    def __call__(self, z: Float[Array, " P"]) -> Float[Array, " n"]:
        return self.observe(self.unknowns.problem(z))

    def observe(self, problem: InitialValueProblem) -> Float[Array, " n"]:
        """What would be observed of a problem: its solution at the samples' times and points."""
        evaluator: Any = self.solver.solve(problem, self.ts, progress=False).evaluator
        if len(self.counts) > _FEW_TIMES:
            return jax.lax.map(lambda sample: evaluator(*sample), (self.t, self.x), batch_size=_BLOCK)
        ends = np.cumsum(self.counts)
        groups = zip(self.ts, ends - np.asarray(self.counts), ends, strict=True)
        return jnp.concatenate([evaluator.batch(t, self.x[start:end]) for t, start, end in groups])
