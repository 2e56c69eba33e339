"""A solution: shapes, batches, transformations, dtypes, and what is refused."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import jets

import hjpde
from hjpde import solvers
from hjpde._structure import decode, encode
from hjpde.solvers.grids._grid_evaluator import GridEvaluator

RNG = np.random.default_rng(0)
POSITIONS, HEIGHTS = jnp.asarray(RNG.normal(size=(5, 2))), jnp.asarray(RNG.normal(size=5))
X = jnp.asarray(RNG.normal(size=(2, 3, 2)))
EPS = 0.1


def _solution(positions=POSITIONS, heights=HEIGHTS, eps: object = EPS, t: object = 1.0):
    problem = hjpde.InitialValueProblem(hjpde.Atoms(positions, heights), hjpde.Quadratic(), eps)  # pyright: ignore
    return hjpde.solve(problem, t)  # pyright: ignore


def _by_hand(t, x):
    costs = np.asarray(HEIGHTS) + np.sum((np.asarray(x) - np.asarray(POSITIONS)) ** 2, axis=1) / (4 * t)
    return -EPS * np.logaddexp.reduce(-costs / EPS) + EPS * np.log(4 * np.pi * EPS * t)


def test_values_by_hand_and_in_batches():
    solution = _solution()
    u = solution.batch(0.7, X)
    assert u.shape == (2, 3)
    np.testing.assert_allclose(u, [[_by_hand(0.7, x) for x in row] for row in X], rtol=1e-12)
    np.testing.assert_allclose(u, jax.vmap(jax.vmap(lambda x: solution(0.7, x)))(X), rtol=1e-12)
    np.testing.assert_allclose(solution.batch(0.7, X[0, 0]), u[0, 0], rtol=1e-12)
    assert solution.batch(0.7, jnp.zeros((0, 2))).shape == (0,)
    # Any time above 0, also after the saved ones.
    np.testing.assert_allclose(solution(5.0, X[0, 0]), _by_hand(5.0, X[0, 0]), rtol=1e-12)


def test_derivatives_agree_with_each_other():
    solution, t, x, h = _solution(), 0.7, X[0, 0], 1e-5
    gradient = jax.jit(lambda x: solution.gradient(t, x))
    _, rate, slope, bend = (part[0] for part in jets(solution, jnp.asarray([t]), x[None]))
    axes = h * np.eye(2)
    np.testing.assert_allclose(slope, [(_by_hand(t, x + a) - _by_hand(t, x - a)) / (2 * h) for a in axes], atol=1e-8)
    np.testing.assert_allclose(bend, [(gradient(x + a) - gradient(x - a)) / (2 * h) for a in axes], atol=1e-7)
    laplacian = jax.jit(lambda x: solution.laplacian(t, x))(x)
    np.testing.assert_allclose(laplacian, np.trace(bend), rtol=1e-13)
    np.testing.assert_allclose(rate, (_by_hand(t + h, x) - _by_hand(t - h, x)) / (2 * h), atol=1e-8)
    slopes = solution.batch_gradient(t, X)
    assert slopes.shape == X.shape
    np.testing.assert_allclose(slopes[0, 0], slope, rtol=1e-11)
    assert solution.standard_error(t, x) == 0


def test_numpy_integers_and_lists_are_taken():
    solution = _solution()
    expected = _by_hand(1.0, [1.0, 2.0])
    for x in ([1, 2], (1.0, 2.0), np.asarray([1, 2]), np.asarray([1.0, 2.0]), jnp.asarray([1, 2])):
        assert float(solution(1, x)) == pytest.approx(expected, rel=1e-13)
    assert float(solution(np.float64(1.0), [1, 2])) == pytest.approx(expected, rel=1e-13)
    assert float(solution(jnp.asarray(1), [1, 2])) == pytest.approx(expected, rel=1e-13)


def test_refuses_points_and_times():
    solution = _solution()
    for call in (solution, solution.gradient, solution.hessian, solution.time_derivative, solution.standard_error):
        for x in (X, X[0], jnp.zeros(3), 0.5):
            with pytest.raises(ValueError, match=r"`x` must be one point of shape \(2,\).*use `\.batch`"):
                call(0.7, x)
    for points in (jnp.zeros((4, 3)), jnp.zeros(3), 0.5):
        with pytest.raises(ValueError, match=r"`X` must have shape \(\.\.\., 2\), got"):
            solution.batch(0.7, points)
    for t in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"point masses are singular at `t` = 0, take `t` > 0"):
            solution(t, X[0, 0])
        with pytest.raises(ValueError, match=r"point masses are singular"):
            solution.batch(t, X)
    with pytest.raises(ValueError, match="it is NaN"):
        solution(np.nan, X[0, 0])
    with pytest.raises(ValueError, match=r"`t` must be one time, a scalar, got shape \(2,\)"):
        solution(jnp.ones(2), X[0, 0])
    with pytest.raises(ValueError, match=r"`x` must be real"):
        solution(1.0, X[0, 0] * 1j)
    any_dimension = hjpde.solve(hjpde.InitialValueProblem(hjpde.Norm(), hjpde.Quadratic()), 1.0)
    with pytest.raises(ValueError, match=r"`x` must be one point of shape \(d,\)"):
        any_dimension(1.0, X)


def test_a_compiled_function_returns_a_solution():
    solution = jax.jit(_solution)(POSITIONS, HEIGHTS, EPS)
    assert isinstance(solution, hjpde.Solution)
    assert solution.stats["solver"] == "HopfCole, Atoms in closed form"
    assert solution.result == hjpde.RESULTS.successful
    np.testing.assert_allclose(solution(0.7, X[0, 0]), _by_hand(0.7, X[0, 0]), rtol=1e-12)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(_solution()))


class _Net(eqx.Module):
    """Like a user's: an activation, a constant of numpy's."""

    layer: eqx.nn.Linear
    activation: object
    offset: object

    def __call__(self, x):
        return jnp.sum(self.activation(self.layer(x)) + self.offset)  # pyright: ignore


def test_a_solution_from_a_network_passes_through_jit(getkey):
    net = _Net(eqx.nn.Linear(1, 1, key=getkey()), jnp.tanh, np.asarray([0.5]))
    problem = hjpde.InitialValueProblem(net, hjpde.Quadratic(), EPS)
    solution = jax.jit(lambda s: s)(hjpde.solve(problem, 1.0))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(solution))
    assert solution.stats["solver"] == "HopfCole, Gaussian integral"


@eqx.filter_jit
@jax.value_and_grad
def _value_and_slopes(parameters):
    positions, heights, eps = parameters
    return _solution(positions, heights, eps)(0.7, X[0, 0])


def test_derivatives_in_the_problem():
    value, (by_position, by_height, by_eps) = _value_and_slopes((POSITIONS, HEIGHTS, jnp.asarray(EPS)))
    np.testing.assert_allclose(value, _by_hand(0.7, X[0, 0]), rtol=1e-12)
    # The derivatives in the heights are the Gibbs weights, those in the positions the weighted co-states, reversed.
    offsets = np.asarray(X[0, 0]) - np.asarray(POSITIONS)
    logits = -(np.asarray(HEIGHTS) + np.sum(offsets**2, axis=1) / (4 * 0.7)) / EPS
    gibbs = np.exp(logits - np.logaddexp.reduce(logits))
    np.testing.assert_allclose(by_height, gibbs, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(by_position, -gibbs[:, None] * offsets / (2 * 0.7), rtol=1e-11, atol=1e-15)
    entropy = -np.sum(gibbs * np.log(gibbs))
    np.testing.assert_allclose(by_eps, -entropy + np.log(4 * np.pi * EPS * 0.7) + 1, rtol=1e-10)


def test_problems_and_times_are_batched():
    heights = jnp.stack([HEIGHTS, HEIGHTS + 1.0])
    u = jax.vmap(lambda h: _solution(heights=h)(0.7, X[0, 0]))(heights)
    np.testing.assert_allclose(u[1] - u[0], 1.0, rtol=1e-12)
    solutions = jax.vmap(lambda h: _solution(heights=h))(heights)
    np.testing.assert_allclose(jax.vmap(lambda s: s(0.7, X[0, 0]))(solutions), u, rtol=1e-13)
    ts = jnp.asarray([0.2, 0.7])
    by_time = jax.vmap(lambda t: _solution()(t, X[0, 0]))(ts)
    np.testing.assert_allclose(by_time, [_by_hand(t, X[0, 0]) for t in ts], rtol=1e-12)


DATA32 = np.asarray(POSITIONS, np.float32), np.asarray(HEIGHTS, np.float32)
PROBLEMS32 = [
    (hjpde.Atoms(*DATA32), hjpde.Quadratic(), 0.1),
    (hjpde.SoftMinPlanes(*DATA32), hjpde.Quadratic(), 0.1),
    (hjpde.GaussianMixture(*DATA32, 1.0), hjpde.Quadratic(), 0.1),
    (hjpde.Atoms(*DATA32), hjpde.Eikonal(2.0), 0.0),
    (hjpde.Atoms(*DATA32), hjpde.Power(3.0), 0.0),
    (hjpde.SoftMinPlanes(*DATA32), hjpde.Power(3.0), 0.0),
    (hjpde.Cones(*DATA32, 0.5), hjpde.Quadratic(), 0.0),
    (hjpde.Norm(np.inf), hjpde.Quadratic(), 0.0),
    (hjpde.MaxPlanes(*DATA32), hjpde.Quadratic(), 0.0),
    (jnp.sum, hjpde.Quadratic(), 0.1),
]


@pytest.mark.slow
@pytest.mark.parametrize("datum, hamiltonian, viscosity", PROBLEMS32)
def test_single_precision_stays_single(datum, hamiltonian, viscosity):
    solution = hjpde.solve(hjpde.InitialValueProblem(datum, hamiltonian, viscosity), 1.0)
    x = jnp.asarray([0.3, -0.2], jnp.float32)
    u, slope = jax.jit(lambda x: (solution(0.7, x), solution.gradient(0.7, x)))(x)
    assert u.dtype == slope.dtype == jnp.float32
    batch = jax.eval_shape(lambda x: solution.batch(0.7, x[None]), x)
    assert batch.dtype == jnp.float32


@pytest.mark.slow
def test_linear_quadratic_in_single_precision():
    A, point = np.eye(2, dtype=np.float32), jnp.asarray([[0.3, -0.2]])
    constant = hjpde.LinearQuadratic(np.eye(2), np.eye(2), Q=np.eye(2))
    expected = hjpde.solve(hjpde.InitialValueProblem(hjpde.Atoms(POSITIONS, HEIGHTS), constant, EPS), 1.0)
    H = hjpde.LinearQuadratic(A, lambda t: jnp.eye(2, dtype=t.dtype), Q=A)
    problem = hjpde.InitialValueProblem(hjpde.Atoms(*DATA32), H, 0.1 * A)
    u = hjpde.solve(problem, 1.0).batch(0.7, point.astype(jnp.float32))
    assert u.dtype == jnp.float32
    np.testing.assert_allclose(u, expected.batch(0.7, point), rtol=2e-5)


def test_solvers_are_named_in_stats():
    problem = hjpde.InitialValueProblem(hjpde.Atoms(POSITIONS, HEIGHTS), hjpde.Quadratic(), EPS)
    assert hjpde.solve(problem, 1.0, solvers.HopfCole()).stats["solver"] == _solution().stats["solver"]
    assert set(_solution().stats) == {"solver", "escape_time"}


def _on_a_grid():
    """A solution by hand on a grid with a periodic axis, with counts of every kind."""
    grid = solvers.Grid((0.0, -1.0), (1.0, 1.0), (4, 3), (False, True))
    ts, us = jnp.asarray([0.0, 0.25, 0.5]), jnp.arange(36.0).reshape(3, 4, 3)
    counts = {"steps": 12, "exact": True, "cfl": 0.75, "speeds": np.ones(2)}
    return hjpde.Solution(GridEvaluator(grid, ts, us, 0 * us), ts[1:], solver="by hand", counts=counts)


def test_a_grid_solution_as_labelled_arrays():
    pytest.importorskip("xarray")
    solution = _on_a_grid()
    units = {"time": "s", "x": "m", "u": "m"}
    data = solution.to_xarray(names=("x", "psi"), units=units)
    assert data.u.dims == ("time", "x", "psi")
    np.testing.assert_array_equal(data.u, jnp.arange(36.0).reshape(3, 4, 3))
    np.testing.assert_array_equal(data.time, [0, 0.25, 0.5])
    np.testing.assert_allclose(data.x, np.linspace(0, 1, 4), rtol=1e-6)
    assert (data.time.units, data.x.units, data.psi.units, data.u.units) == ("s", "m", "1", "m")
    assert (data.x.periodic, data.psi.periodic) == (0, 1)
    assert all("long_name" in data[name].attrs for name in ("time", "x", "psi", "u"))
    attributes = {name: data.attrs[name] for name in ("solver", "result", "steps", "exact", "cfl")}
    assert attributes == {"solver": "by hand", "result": "successful", "steps": 12, "exact": 1, "cfl": 0.75}
    np.testing.assert_array_equal(data.attrs["speeds"], [1, 1])
    assert float(data.u.sel(time=0.25, psi=-1.0).isel(x=2)) == float(solution(0.25, [2 / 3, -1.0])) == 18


def test_any_solution_may_be_sampled_on_a_grid():
    pytest.importorskip("xarray")
    grid = solvers.Grid((-1.0, -1.0), 1.0, 3)
    data = _solution(t=[0.5, 0.7]).to_xarray(grid)
    assert data.u.dims == ("time", "x0", "x1")
    np.testing.assert_allclose(data.u[1, 0, 2], _by_hand(0.7, [-1.0, 1.0]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_labelled_arrays_survive_a_file(kind, tmp_path):
    xarray = pytest.importorskip("xarray")
    data = _on_a_grid().to_xarray()
    if kind == "netcdf":
        pytest.importorskip("h5netcdf")
        pytest.importorskip("h5py")
        data.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
        back = xarray.load_dataset(tmp_path / "u.nc", engine="h5netcdf")
    else:
        pytest.importorskip("zarr")
        # Without an index of its own: zarr 3 warns that it has no standard for one.
        data.to_zarr(tmp_path / "u.zarr", consolidated=False)
        back = xarray.open_zarr(tmp_path / "u.zarr", consolidated=False, chunks=None).load()
    xarray.testing.assert_identical(back, data)


def test_refuses_labelled_arrays(monkeypatch):
    pytest.importorskip("xarray")
    with pytest.raises(ValueError, match="`grid` is needed: the solver HopfCole, Atoms in closed form gives a closed"):
        _solution().to_xarray()
    solution = _on_a_grid()
    for names in (("x",), ("x", "x"), ("time", "x"), ("x", "u")):
        with pytest.raises(ValueError, match="`names` must be 2 distinct words other than 'time' and 'u', got"):
            solution.to_xarray(names=names)
    with pytest.raises(ValueError, match=r"`units` names \['y'\], which are none of \['x0', 'x1', 'time', 'u'\]"):
        solution.to_xarray(units={"y": "m"})
    with pytest.raises(ValueError, match=r"`X` must have shape \(\.\.\., 2\), got \(4, 1\)"):
        solution.to_xarray(solvers.Grid([0.0], 1.0, 4))
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        ImportError, match=r"`to_xarray` needs xarray: install the extra with `pip install 'hjpde\[io\]'`"
    ):
        solution.to_xarray()


def test_solutions_are_saved_and_loaded(tmp_path):
    failed = hjpde.Solution(_on_a_grid().evaluator, jnp.ones(1), solver="by hand", result=hjpde.RESULTS.not_converged)
    for solution in (_on_a_grid(), failed, jax.jit(lambda s: s)(failed), _solution()):
        hjpde.save(tmp_path / "solution.hjpde", solution)
        back = hjpde.load(tmp_path / "solution.hjpde")
        assert eqx.tree_equal(back, solution)
        assert jax.tree.structure(back) == jax.tree.structure(solution)
        assert back.result == solution.result
        assert back.stats["solver"] == solution.stats["solver"]
    assert hjpde.RESULTS[failed.result] == hjpde.RESULTS[hjpde.RESULTS.not_converged]


def test_results_are_saved_by_name():
    # Where a name stands among the others is no part of a file.
    leaves = []
    structure = encode(hjpde.RESULTS.escaped, leaves, "module")
    arrays = [leaf.array for leaf in leaves]
    assert decode(structure, arrays)[0] == hjpde.RESULTS.escaped
    structure["names"] = structure["names"][::-1]
    mirrored = [np.asarray(len(structure["names"]) - 1 - arrays[0])]
    assert decode(structure, mirrored)[0] == hjpde.RESULTS.escaped
    with pytest.raises(ValueError, match=r"another version of hjpde: .*RESULTS has no unheard_of"):
        decode(structure | {"names": ["unheard_of"]}, mirrored)
    for foreign in ("hjpde._solution:Solution", "diffrax._solution:RESULTS", "hjpde._solution:NOTHING"):
        with pytest.raises(ValueError, match=r"names the enumeration .*, which is none of this hjpde"):
            decode(structure | {"choice": foreign}, mirrored)
