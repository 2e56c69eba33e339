"""Reverse-mode gradients through a long grid solve: their time, their memory, and how right they are.

    python benchmarks/grid_gradients.py [--n 128] [--steps 500] [--repeats 3]

Some `steps` WENO5 steps with third-order Runge-Kutta on an n x n grid in float64, for H = |p|^2, before the first kink.
One JSON object a line for each numerical Hamiltonian: the forward solve and the gradient in seconds without
compilation, their ratio, by how much resident memory rises during the gradient, its relative difference from the best
central difference, and that between a vector-Jacobian and a Jacobian-vector product.
"""

import argparse
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
from _harness import paired_medians, resident_growth

import hjpde
from hjpde import problems, solvers

# Before the first kink of these waves, which forms at 0.2.
FINAL_TIME = 0.1
DIFFERENCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def measure(flux, n, steps, repeats):
    worked = problems.SmoothKinks(2)
    grid = solvers.Grid.over(worked.problem.domain, n)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=grid.shape)) / grid.points[..., 0].size

    def solve(amplitude, cfl):
        problem = hjpde.InitialValueProblem(
            lambda x: amplitude * worked(0.0, x) + 0.1 * amplitude**2 * jnp.sin(jnp.pi * x[0] / 2),
            hjpde.Quadratic(),
            domain=worked.problem.domain,
        )
        solver = solvers.FiniteDifference(grid, flux=flux, cfl=cfl, max_steps=steps + steps // 8)
        return hjpde.solve(problem, FINAL_TIME, solver)

    # As many steps as asked for, by their length.
    cfl = 0.1
    for _ in range(2):
        cfl *= int(solve(1.0, cfl).stats["steps"]) / steps

    loss = jax.jit(lambda amplitude: jnp.sum(weights * solve(amplitude, cfl).evaluator.us[-1]))
    one = jnp.asarray(1.0)
    backward = jax.jit(jax.grad(loss)).lower(one).compile()
    # At its first run, as later ones may use again what that one freed.
    growth = resident_growth(lambda: backward(one))
    forward_mode = jax.jit(lambda amplitude: jax.jvp(loss, (amplitude,), (jnp.ones_like(amplitude),))[1])
    gradient, tangent = float(backward(one)), float(forward_mode(one))
    differences = [float((loss(one + h) - loss(one - h)) / (2 * h)) for h in DIFFERENCES]
    seconds = paired_medians({"forward": lambda: loss(one), "gradient": lambda: backward(one)}, repeats)
    return {
        "flux": flux, "steps": int(solve(1.0, cfl).stats["steps"]), "forward_seconds": seconds["forward"],
        "gradient_seconds": seconds["gradient"], "ratio": seconds["gradient"] / seconds["forward"],
        "resident_growth_mb": growth,
        "against_differences": min(abs(difference / gradient - 1) for difference in differences),
        "vjp_against_jvp": abs(gradient / tangent - 1),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    machine = {"device": str(jax.devices()[0]), "cores": os.cpu_count(), "jax": jax.__version__}
    for flux in ("godunov", "global", "local"):
        row = measure(flux, arguments.n, arguments.steps, arguments.repeats)
        print(json.dumps({"n": arguments.n, **row, **machine, "load": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
