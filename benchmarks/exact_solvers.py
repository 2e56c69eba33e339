"""The exact formulas on grids against time-stepping peers, where installed: the same process, in turns.

    python benchmarks/exact_solvers.py [SETTING ...] [--repeats N]

One JSON object a line: the setting (equation, dtype, versions, load), then for each contestant the first call
(compilation included) apart from the median of interleaved later ones, the speed-up over the first contestant as the
median over the rounds, the nanoseconds a node, and the largest and the mean error against the exact solution. Then a
table. Timed is a compiled function from the datum at the nodes to the values at the end.
"""

import dataclasses
import functools
import importlib.util
import json
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import grid_solvers
import jax
import jax.numpy as jnp
import numpy as np
from _harness import arguments_of, machine, timed

import hjpde
from hjpde import problems, solvers

TIME = 0.5


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is compared.

    - `calls`: makes the contestants by name, each a function without arguments that returns the values at the end, or
      whatever `error` takes. The first is what the others are measured against.
    - `error`: from what a call returns to the array of errors; `None` where there is no exact solution.
    - `needs`: the peer's package. - `double`: whether the setting is in float64.
    """

    equation: str
    calls: Callable[[], Mapping[str, Callable[[], Any]]]
    error: Callable[[np.ndarray], np.ndarray] | None
    needs: str | None = None
    double: bool = False


def compiled(solver_type, values, viscosity=0.0):
    """The solution at the end from values at the nodes of the periodic square, under H = |p|^2/2."""
    values, n = jnp.asarray(values), len(values)
    grid = grid_solvers.square(n, values.dtype.name)
    H = hjpde.Quadratic(jnp.eye(2, dtype=values.dtype) / 2)

    @jax.jit
    def end(values):
        # The value at the nearest node, so that a solve looks the values up in one go, as the peers are given them.
        at = lambda x: tuple(jnp.round((x[k] + 2) * (n / grid_solvers.SIDE)).astype(int) % n for k in (0, 1))  # noqa: E731
        problem = hjpde.InitialValueProblem(lambda x: values[at(x)], H, viscosity)
        time = jnp.asarray(TIME, values.dtype)
        return hjpde.solve(problem, time, solver_type(grid), throw=False).evaluator.us[-1]

    return functools.partial(end, values)


# ---- Inviscid: minima of paraboloids and cones ----------------------------------------------------------------------


def minima(n):
    values = grid_solvers.quadratic_exact(grid_solvers.nodes(n), 0.0)
    return compiled(solvers.GridHopfLax, values.astype(np.float32))


def minima_peer(n):
    call = grid_solvers.quadratic_peer(n, TIME)
    return lambda: call()[0]


def minima_error(u):
    return np.abs(u - grid_solvers.quadratic_exact(grid_solvers.nodes(len(u)), TIME))


# ---- Inviscid: smooth data that are no parabolas ---------------------------------------------------------------------

AMPLITUDE, WAVE = 0.3, np.pi


def wave(x):
    return AMPLITUDE * np.cos(WAVE * x)


def wave_exact(x):
    """The minimum over the start of the path in one dimension, on fine points and then by Newton's method."""
    y = np.linspace(-4, 4, 32_001)
    starts = y[np.argmin(wave(y)[None] + (x[:, None] - y[None]) ** 2 / (2 * TIME), axis=1)]
    for _ in range(20):
        slope = -AMPLITUDE * WAVE * np.sin(WAVE * starts) - (x - starts) / TIME
        bend = -(WAVE**2) * wave(starts) + 1 / TIME
        starts = starts - np.where(np.abs(bend) > 1e-3, slope / bend, 0)
    return wave(starts) + (x - starts) ** 2 / (2 * TIME)


def waves(n):
    x = grid_solvers.nodes(n)[:, 0, 0]
    return compiled(solvers.GridHopfLax, (wave(x)[:, None] + wave(x)[None]).astype(np.float32))


def waves_error(u):
    along = wave_exact(grid_solvers.nodes(len(u))[:, 0, 0])
    return np.abs(u - along[:, None] - along[None])


def large(n):
    x = grid_solvers.nodes(n)
    g = wave(x[..., 0]) + wave(x[..., 1]) + 0.1 * np.sin(3 * np.pi * x[..., 0]) * np.cos(2 * np.pi * x[..., 1])
    return compiled(solvers.GridHopfLax, g.astype(np.float32))


# ---- Viscous --------------------------------------------------------------------------------------------------------


def viscous(n):
    values = jax.vmap(jax.vmap(grid_solvers.smooth_datum))(jnp.asarray(grid_solvers.nodes(n)))
    return compiled(solvers.GridHopfCole, values, grid_solvers.VISCOSITY)


def viscous_peer(n, steps):
    import exponax as ex

    stepper = ex.stepper.generic.GeneralGradientNormStepper(
        2, grid_solvers.SIDE, n, TIME / steps, linear_coefficients=(0.0, 0.0, grid_solvers.VISCOSITY),
        gradient_norm_scale=1.0, order=4,
    )  # fmt: skip
    start = jax.vmap(jax.vmap(grid_solvers.smooth_datum))(jnp.asarray(grid_solvers.nodes(n)))[None]
    run = jax.jit(lambda u: ex.repeat(stepper, steps)(u)[0])
    return lambda: run(start)


def viscous_error(u):
    """Of the part without mean, for both, as the peer has none."""
    exact = grid_solvers.viscous_exact(len(u), TIME)
    return np.abs(grid_solvers.without_mean(u) - grid_solvers.without_mean(exact))


# ---- High dimension -------------------------------------------------------------------------------------------------


def fifty(structured, points=1000):
    """The gaps at points drawn twice as wide as a standard normal; solved and certified anew in every call."""
    worked = problems.QuadraticPlusNorm(dim=50, structured=structured)
    X = 2 * np.random.default_rng(0).normal(size=(points, 50))

    def call():
        value, gap, _ = hjpde.solve(worked.problem, 0.7).certificate(0.7, X)
        return gap / jnp.maximum(1, jnp.abs(value))

    return call


SETTINGS = {
    "minima": Setting(
        equation="u_t + |grad u|^2/2 = 0 (A = I/2), periodic [-2, 2)^2, t = 0.5; 6 paraboloids and 2 cones",
        calls=lambda: {
            "hj_reachability very_high, 256^2": minima_peer(256),
            "hjpde GridHopfLax, 256^2": minima(256),
            "hjpde GridHopfLax, 128^2": minima(128),
        },
        error=minima_error,
        needs="hj_reachability",
    ),
    "waves": Setting(
        equation="u_t + |grad u|^2/2 = 0 (A = I/2), periodic [-2, 2)^2, t = 0.5; g = 0.3 (cos pi x + cos pi y)",
        calls=lambda: {f"hjpde GridHopfLax, {n}^2": waves(n) for n in (64, 128, 256)},
        error=waves_error,
    ),
    "large": Setting(
        equation="u_t + |grad u|^2/2 = 0 (A = I/2), periodic [-2, 2)^2, t = 0.5; sums and products of waves",
        calls=lambda: {f"hjpde GridHopfLax, {n}^2": large(n) for n in (1024, 4096)},
        error=None,
    ),
    "viscous": Setting(
        equation=f"u_t + |grad u|^2/2 = {grid_solvers.VISCOSITY} Lap u (A = I/2), periodic [-2, 2)^2, t = 0.5",
        calls=lambda: {
            "exponax ETDRK4, 200 steps, 256^2": viscous_peer(256, 200),
            "hjpde GridHopfCole, 256^2": viscous(256),
            "hjpde GridHopfCole, 64^2": viscous(64),
        },
        error=viscous_error,
        needs="exponax",
        double=True,
    ),
    "fifty": Setting(
        equation="u_t + p'Ap + |p| = 0 in 50 dimensions, t = 0.7, g = |x|_1/2 + x'Dx/2; gap over max(1, |u|) as error",
        calls=lambda: {"hjpde HopfLax, sums of parts": fifty(True), "hjpde HopfLax, plain functions": fifty(False)},
        error=lambda gaps: gaps,
        double=True,
    ),
}


def measure(name, repeats):
    setting, rows = SETTINGS[name], []
    if setting.needs is not None and importlib.util.find_spec(setting.needs) is None:
        print(json.dumps({"setting": name, "skipped": f"{setting.needs} is not installed"}))
        return []
    calls, outs, first, seconds = setting.calls(), {}, {}, {}
    for who, call in calls.items():
        outs[who], first[who] = timed(call)
        seconds[who] = []
    for _ in range(repeats):
        for who, call in calls.items():
            seconds[who].append(timed(call)[1])
    base = next(iter(calls))
    for who in calls:
        u, median = np.asarray(outs[who], np.float64), statistics.median(seconds[who])
        row = {
            "setting": name, "library": who, "median": median, "first_call": first[who],
            "speedup": statistics.median(a / b for a, b in zip(seconds[base], seconds[who], strict=True)),
            "over": base, "ns_a_node": 1e9 * median / u.size,
        }  # fmt: skip
        if setting.error is not None:
            error = setting.error(u)
            row |= {"linf": float(error.max()), "l1": float(error.mean())}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main():
    chosen, repeats = arguments_of(__doc__, SETTINGS)
    rows = []
    for name in chosen:
        setting = SETTINGS[name]
        jax.config.update("jax_enable_x64", setting.double)
        dtype = "float64" if setting.double else "float32"
        print(json.dumps({"setting": name, "equation": setting.equation, **machine(), "dtype": dtype}), flush=True)
        rows += measure(name, repeats)
    print(f"\n{'setting':10} {'library':36} {'median s':>9} {'speed-up':>9} {'ns/node':>9} {'L1':>9} {'Linf':>9}")
    for row in rows:
        cells = (f"{row[key]:9.2g}" if key in row else " " * 9 for key in ("l1", "linf"))
        print(
            f"{row['setting']:10} {row['library']:36} {row['median']:9.4f} {row['speedup']:9.1f} "
            f"{row['ns_a_node']:9.1f}",
            *cells,
        )


if __name__ == "__main__":
    main()
