"""The grid solvers against hj_reachability and exponax, where installed: the same equation, the same process, in turns.

    python benchmarks/grid_solvers.py [SETTING ...] [--repeats N]

One JSON object a line: the setting (Hamiltonian, viscosity, grid, dtype, versions, load), then for each contestant the
first call (compilation included) apart from the median of interleaved later ones, the error against the exact solution
where there is one, the largest difference from the peer, the speed-up over the peer as the median over the rounds, and
the ratio to the floor. Then a table.

The floor is what the arithmetic or the memory must take at the least, whichever is longer: the operations of a scheme
(counted below; for Fourier modes those of the transforms) at the rate of fused multiply-adds on data in cache, and one
array read and one written a stage at the rate of a sum on an array of that size. Both rates are measured here.
"""

import functools
import importlib.util
import json
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from _harness import arguments_of, machine, rate, timed

import hjpde
from hjpde import solvers

SIDE = 4.0
FLOPS_A_STENCIL = {"WENO5": 122, "first order": 9}
"""Operations a point, an axis and a stage: both one-sided derivatives and the numerical Hamiltonian."""
STAGES = {"WENO5": 3, "first order": 1, "Spectral": 4}


# ---- Air3d: a pursuit-evasion game in three dimensions --------------------------------------------------------------

AIR3D_SHAPE, AIR3D_TIME = (51, 40, 50), 2.8
AIR3D_BOX = np.array([-6.0, -10.0, 0.0]), np.array([20.0, 10.0, 2 * np.pi])


def air3d(order):
    """Own solve of the tube, with the peer's scheme: global Lax-Friedrichs, CFL 0.75, minimum after the dissipation."""
    away = hjpde.ExtrapolationAwayFromZero()
    domain = hjpde.Domain(*(end.astype(np.float32) for end in AIR3D_BOX), (False, False, True), [away, away, None])
    game = hjpde.ControlAffine(
        lambda t, x: jnp.stack([-5 + 5 * jnp.cos(x[2]), 5 * jnp.sin(x[2]), jnp.zeros_like(x[0])]),
        lambda t, x: jnp.stack([x[1], -x[0], -jnp.ones_like(x[0])])[:, None],
        jnp.array([[0.0], [0.0], [1.0]]),
        controls=hjpde.Box([-1.0], [1.0]),
        disturbances=hjpde.Box([-1.0], [1.0]),
        control="max",
        dim=3,
    )
    target = lambda x: jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 5  # noqa: E731
    problem = hjpde.InitialValueProblem(target, game, domain=domain, constraint=hjpde.Constraint(monotone="decreasing"))
    solver = solvers.FiniteDifference(solvers.Grid.over(domain, AIR3D_SHAPE), order, flux="global")
    return functools.partial(_own, problem, AIR3D_TIME, solver)


def air3d_peer(accuracy):
    import hj_reachability as hj

    box = hj.sets.Box(*AIR3D_BOX)
    grid = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, AIR3D_SHAPE, periodic_dims=2)
    target = jnp.linalg.norm(grid.states[..., :2], axis=-1) - 5
    settings = hj.SolverSettings.with_accuracy(accuracy, hamiltonian_postprocessor=hj.solver.backwards_reachable_tube)
    game = hj.systems.Air3d()
    return lambda: (hj.step(settings, game, grid, 0.0, target, -AIR3D_TIME, progress_bar=False), None)


# ---- H = |p|^2/2 on a periodic square, exact by Hopf and Lax --------------------------------------------------------


def bumps():
    """Paraboloids (concave kinks between them) and cones (convex kinks that open): centres, curvatures, heights."""
    rng = np.random.default_rng(3)
    paraboloids = rng.uniform(-2, 2, (6, 2)), rng.uniform(2.0, 5.0, 6), rng.uniform(0.0, 0.6, 6)
    rng = np.random.default_rng(11)
    cones = rng.uniform(-2, 2, (2, 2)), rng.uniform(2.0, 5.0, 2) * 0 + 1.5, rng.uniform(0.0, 0.6, 2)
    return paraboloids, cones


def quadratic_exact(points, t):
    """The minimum of the bumps' own solutions over all periodic images."""
    (centres, curvatures, heights), (tips, slopes, floors) = bumps()
    shifts = np.stack(np.meshgrid(*[[-SIDE, 0, SIDE]] * 2, indexing="ij"), -1).reshape(-1, 2)
    u = np.full(points.shape[:-1], np.inf)
    for shift in shifts:
        for centre, a, b in zip(centres, curvatures, heights, strict=True):
            u = np.minimum(u, b + 0.5 * a / (1 + a * t) * ((points - centre - shift) ** 2).sum(-1))
        for tip, m, b in zip(tips, slopes, floors, strict=True):
            r = np.sqrt(((points - tip - shift) ** 2).sum(-1))
            u = np.minimum(u, b + np.where(r <= m * t, r**2 / (2 * max(t, 1e-30)), m * r - m * m * t / 2))
    return u


def square(n, dtype="float32"):
    return solvers.Grid(np.full(2, -2, dtype), np.full(2, 2, dtype), (n, n), True)


def nodes(n):
    axis = -2 + SIDE * np.arange(n) / n
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)


def table(values):
    """Grid values as a datum: the value at the nearest node."""
    values, n = jnp.asarray(values), len(values)

    @jax.jit  # so that a solve looks the values up in one go, as the peer is given them
    def datum(x):
        i, j = (jnp.round((x[k] + 2) * (n / SIDE)).astype(int) % n for k in (0, 1))
        return values[i, j]

    return datum


def quadratic(n, flux, t=0.5):
    datum = table(quadratic_exact(nodes(n), 0.0).astype(np.float32))
    problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(np.eye(2, dtype=np.float32) / 2))
    return functools.partial(_own, problem, t, solvers.FiniteDifference(square(n), 5, flux=flux))


def quadratic_peer(n, t=0.5):
    import hj_reachability as hj

    class Quadratic(hj.Dynamics):
        def __init__(self):
            super().__init__("min", "max", None, None)

        def __call__(self, *_):
            raise NotImplementedError

        optimal_control_and_disturbance = __call__

        def hamiltonian(self, state, time, value, p):
            return 0.5 * p @ p

        def partial_max_magnitudes(self, state, time, value, box):
            return jnp.maximum(jnp.abs(box.lo), jnp.abs(box.hi))

    box = hj.sets.Box(np.full(2, -2.0), np.full(2, 2.0))
    grid = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, (n, n), periodic_dims=(0, 1))
    settings = hj.SolverSettings.with_accuracy("very_high")
    start, dynamics = jnp.asarray(quadratic_exact(nodes(n), 0.0), jnp.float32), Quadratic()
    return lambda: (hj.step(settings, dynamics, grid, 0.0, start, t, progress_bar=False), None)


# ---- The viscous case: exponential integrators on Fourier modes -----------------------------------------------------

VISCOSITY = 0.05


def smooth_datum(x):
    return 0.5 * jnp.cos(jnp.pi * x[0] / 2) + 0.4 * jnp.sin(jnp.pi * x[1] / 2 + 0.8 * jnp.cos(jnp.pi * x[0] / 2))


def viscous_exact(n, t):
    """Hopf-Cole, the periodic Gaussian integral of exp(-g/2 nu) by sums over four times as fine a grid.

    All terms are positive, so that no digit is lost where the integral is small.
    """
    fine = nodes(4 * n)
    g = np.asarray(jax.vmap(jax.vmap(smooth_datum))(jnp.asarray(fine)), np.float64)
    shifts = nodes(n)[:, 0, 0][:, None] - fine[:, 0, 0][None]
    images = [np.exp(-((shifts + SIDE * k) ** 2) / (4 * VISCOSITY * t)) for k in range(-3, 4)]
    kernel = sum(images) * SIDE / (4 * n) / np.sqrt(4 * np.pi * VISCOSITY * t)
    phi = kernel @ np.exp(-(g - g.min()) / (2 * VISCOSITY)) @ kernel.T
    return g.min() - 2 * VISCOSITY * np.log(phi)


def viscous(n, t=0.5):
    problem = hjpde.InitialValueProblem(smooth_datum, hjpde.Quadratic(np.eye(2, dtype=np.float32) / 2), VISCOSITY)
    return functools.partial(_own, problem, t, solvers.Spectral(square(n), rtol=1e-5))


def viscous_peer(n, steps, t=0.5):
    import exponax as ex

    stepper = ex.stepper.generic.GeneralGradientNormStepper(
        2, SIDE, n, t / steps, linear_coefficients=(0.0, 0.0, VISCOSITY), gradient_norm_scale=1.0, order=4
    )
    start = jax.vmap(jax.vmap(smooth_datum))(jnp.asarray(nodes(n), jnp.float32))[None]
    run = jax.jit(lambda u: ex.repeat(stepper, steps)(u)[0])
    return lambda: (run(start), None)


def without_mean(u):
    """exponax drops the mean of |grad u|^2 and with it the mean of u."""
    return u - u.mean()


def _own(problem, t, solver):
    solution = hjpde.solve(problem, t, solver)
    return solution.evaluator.us[-1], solution.stats["steps"]


SETTINGS = {
    "air3d": {
        "equation": "Air3d, u_t = min(0, -H): x' = f + G a + D b, H = -max_a min_b grad u.x'; viscosity 0",
        "grid": AIR3D_SHAPE,
        "peer": "hj_reachability very_high",
        "calls": lambda: {
            "hj_reachability very_high": air3d_peer("very_high"),
            "hjpde WENO5, global, same scheme": air3d(5),
            "hj_reachability low": air3d_peer("low"),
            "hjpde first order, global, same scheme": air3d(1),
        },
        "exact": None,
    },
    "quadratic": {
        "equation": "u_t + |grad u|^2/2 = 0 (A = I/2), periodic [-2, 2)^2, t = 0.5; viscosity 0",
        "grid": (256, 256),
        "peer": "hj_reachability very_high",
        "calls": lambda: {
            "hj_reachability very_high": quadratic_peer(256),
            "hjpde WENO5, global, same answer": quadratic(256, "global"),
            "hjpde WENO5, Godunov": quadratic(256, "godunov"),
            "hjpde WENO5, Godunov, 136^2": quadratic(136, "godunov"),
        },
        "exact": lambda u: np.abs(u - quadratic_exact(nodes(len(u)), 0.5)),
    },
    "viscous": {
        "equation": f"u_t + |grad u|^2/2 = {VISCOSITY} Lap u (A = I/2), periodic [-2, 2)^2, t = 0.5",
        "grid": (256, 256),
        "peer": "exponax ETDRK4, 50 steps",
        "calls": lambda: {
            "exponax ETDRK4, 50 steps": viscous_peer(256, 50),
            "hjpde Spectral, adaptive": viscous(256),
            "hjpde Spectral, adaptive, 64^2": viscous(64),
        },
        # The mean is left out for both, as the peer has none.
        "exact": lambda u: np.abs(without_mean(u) - without_mean(viscous_exact(len(u), 0.5))),
    },
}


def stencil_rate():
    """Floating-point operations a second of a fused loop of additions and multiplications on data in cache.

    Eight polynomials at once, as a stencil too has several operations that wait for nothing.
    """
    chains, terms = 8, 24

    def polynomials(x):
        total = jnp.zeros_like(x)
        for k in range(chains):
            y = x + k
            for _ in range(terms):
                y = y * x + 0.5
            total = total + y
        return total * 1e-6

    size = 1 << 17
    return rate(polynomials, jnp.linspace(0, 1, size, dtype=jnp.float32), chains * (2 * terms + 2) * size)


def floor(who, u, steps, flops):
    """Seconds below which neither the arithmetic nor the memory lets the solve go."""
    scheme = next(scheme for scheme in STAGES if scheme in who)
    if scheme == "Spectral":
        # A gradient's transforms and one back, of real values: half of 5 N log2 N each.
        operations = (u.ndim + 1) * 2.5 * u.size * np.log2(u.size)
    else:
        operations = FLOPS_A_STENCIL[scheme] * u.size * u.ndim
    array = jnp.zeros(u.shape, jnp.float32)
    bandwidth = rate(lambda x: x + 1, array, 2 * array.nbytes)
    stages = STAGES[scheme] * steps
    return {"floor_flops": stages * operations / flops, "floor_bytes": stages * 2 * array.nbytes / bandwidth}


def measure(name, repeats, flops):
    setting = SETTINGS[name]
    peer = importlib.util.find_spec(setting["peer"].split()[0])
    if peer is None:
        print(json.dumps({"setting": name, "skipped": f"{setting['peer'].split()[0]} is not installed"}))
        return []
    calls, rows, outs, seconds = setting["calls"](), [], {}, {}
    for who, call in calls.items():
        outs[who], first = timed(call)
        seconds[who] = [first]
    for _ in range(repeats):
        for who, call in calls.items():
            seconds[who].append(timed(call)[1])
    for who in calls:
        u, steps = outs[who]
        base = "hj_reachability low" if "first order" in who else setting["peer"]
        speedup = statistics.median(a / b for a, b in zip(seconds[base][1:], seconds[who][1:], strict=True))
        row = {
            "setting": name, "library": who, "median": statistics.median(seconds[who][1:]),
            "first_call": seconds[who][0], "speedup": speedup, "over": base,
        }  # fmt: skip
        u = np.asarray(u, np.float64)
        if steps is not None:
            row |= {"steps": int(steps)} | floor(who, u, int(steps), flops)
            row["ratio_to_floor"] = row["median"] / max(row["floor_flops"], row["floor_bytes"])
        if setting["exact"] is not None:
            error = setting["exact"](u)
            row |= {"linf": float(error.max()), "l1": float(error.mean())}
        if u.shape == np.shape(outs[base][0]):
            row["difference_from_peer"] = float(np.abs(u - np.asarray(outs[base][0], np.float64)).max())
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def main():
    chosen, repeats = arguments_of(__doc__, SETTINGS)
    flops, rows = stencil_rate(), []
    for name in chosen:
        shown = {key: SETTINGS[name][key] for key in ("equation", "grid", "peer")}
        print(json.dumps({"setting": name, **shown, **machine(), "dtype": "float32", "flops": flops}), flush=True)
        rows += measure(name, repeats, flops)
    print(f"\n{'setting':10} {'library':40} {'median s':>9} {'speed-up':>9} {'x floor':>8} {'L1':>9} {'Linf':>9}")
    for row in rows:
        cells = (f"{row[key]:9.2g}" if key in row else " " * 9 for key in ("l1", "linf"))
        floor = f"{row['ratio_to_floor']:8.2f}" if "ratio_to_floor" in row else " " * 8
        print(f"{row['setting']:10} {row['library']:40} {row['median']:9.4f} {row['speedup']:9.2f} {floor}", *cells)


if __name__ == "__main__":
    main()
