"""Jax's default precision, in a process of its own: dtypes, warnings, and errors without run-time annotations."""

import os
import subprocess
import sys
import textwrap

import jax
import pytest


def _run(code):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore
    if cache is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


@pytest.mark.slow
def test_double_precision_off():
    # Warnings are errors: in particular nothing asks jax for a float64 that it will not give.
    printed = _run("""
        import hjpde, jax, jax.numpy as jnp, numpy as np
        from hjpde import solvers

        assert not jax.config.jax_enable_x64
        rng = np.random.default_rng(0)
        Y, g = rng.normal(size=(5, 2)), rng.normal(size=5)
        A = np.asarray([[1.0, 0.2], [0.2, 0.5]])
        cases = [
            (hjpde.Atoms(Y, g), hjpde.Quadratic(), 0.1),
            (hjpde.Atoms(Y, g), hjpde.Quadratic(A), 0.1 * A),
            (hjpde.SoftMinPlanes(Y, g), hjpde.LinearQuadratic(A, A, Y[0], A), 0.1 * A),
            (hjpde.GaussianMixture(Y, g, 1.0), hjpde.LinearQuadratic(A, Q=A), 0.1 * A),
            (hjpde.Atoms(Y, g), hjpde.Power(3.0), 0.0),
            (hjpde.Cones(Y, g, 0.5), hjpde.Eikonal(2.0), 0),
            (hjpde.SoftMinPlanes(Y, g), hjpde.Eikonal(2.0), 0),
            (hjpde.MaxPlanes(Y, g), hjpde.Quadratic(), 0),
            (hjpde.Norm(1), hjpde.Quadratic(), 0),
            (lambda y: y @ y, hjpde.Quadratic(), 0.1),
        ]
        for datum, hamiltonian, viscosity in cases:
            problem = hjpde.InitialValueProblem(datum, hamiltonian, viscosity)
            solution = hjpde.solve(problem, [np.float64(0.5), 1.0])
            leaves = [leaf for leaf in jax.tree.leaves((problem, solution)) if hasattr(leaf, "dtype")]
            assert all(leaf.dtype != jnp.float64 for leaf in leaves)
            u = solution.batch(np.float64(0.7), Y)
            assert u.dtype == jnp.float32 and u.shape == (5,) and np.all(np.isfinite(u)), datum
            print(solution.stats["solver"])

        layer = hjpde.LogSumExp(Y, g, 0.1)
        solution = hjpde.solve(
            hjpde.InitialValueProblem(layer.atoms(0.7), hjpde.Quadratic(), 0.1), 0.7, solvers.HopfCole(normalised=False)
        )
        parabola = np.sum(Y * Y, axis=1) / 2.8
        assert np.all(np.abs(layer.batch(Y) + solution.batch(0.7, Y) - parabola) <= 1e-5 * (1 + parabola))
        form = hjpde.InitialValueProblem(lambda y: y @ y, hjpde.Quadratic(), 0.1)
        u = hjpde.solve(form, 0.7).batch(0.7, Y)
        exact = np.sum(Y * Y, axis=1) / 3.8 + 0.1 * np.log(3.8)
        assert np.all(np.abs(u - exact) <= 1e-4), np.abs(u - exact).max()
    """)
    assert len(printed.splitlines()) == 10


def test_a_viscosity_below_the_roundoff_warns_once():
    _run("""
        import warnings, hjpde, numpy as np

        def solve():
            atoms = hjpde.Atoms(np.eye(2), np.zeros(2))
            problem = hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 1e-9)
            return hjpde.solve(problem, 1.0).batch(0.7, np.eye(2))

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                assert np.all(np.isfinite(solve()))
                hjpde.LogSumExp(np.eye(2), np.zeros(2), 1e-9)
        messages = [str(w.message) for w in caught]
        assert len(messages) == 1, messages
        assert "`viscosity` = 1e-09 is below the roundoff" in messages[0] and "float64" in messages[0]
    """)


def test_errors_where_no_annotation_is_checked():
    _run("""
        import hjpde, jax.numpy as jnp, numpy as np

        atoms = hjpde.Atoms(np.eye(2), np.zeros(2))
        solution = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 0.1), 1.0)
        wrong = [
            (lambda: hjpde.InitialValueProblem(3.0, hjpde.Quadratic()), "`initial_data` must be a function"),
            (lambda: hjpde.InitialValueProblem(atoms, lambda p: p), "`hamiltonian` must be a member of"),
            (lambda: hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), "thick"), "`viscosity` must be an array"),
            (lambda: hjpde.MomentumFunction(jnp.sum, "flat"), "`curvature` must be one of linear, convex"),
            (lambda: hjpde.MomentumFunction(3.0), "`function` must be callable, got float"),
            (lambda: hjpde.Atoms("far", [0.0]), "`positions` must be an array of numbers, got str"),
            (lambda: hjpde.Atoms(None, [0.0]), "`positions` must be an array of numbers, got NoneType"),
            (lambda: hjpde.LogSumExp(np.eye(2), np.zeros(2), "cold"), "`viscosity` must be "),
            (lambda: hjpde.Norm(3), "`order` must be 1, 2 or infinity"),
            (lambda: solution("now", np.zeros(2)), "`t` must be "),
            (lambda: solution(1.0, "here"), "`x` must be an array of numbers"),
            (lambda: solution.batch(1.0, "here"), "`X` must be an array of numbers"),
            (lambda: hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), 0.1), "soon"), "`t` must be"),
        ]
        for build, message in wrong:
            try:
                build()
            except ValueError as error:
                assert message in str(error), (message, str(error))
            else:
                raise AssertionError(message)
    """)
