"""The training loop against closed-form minimisers, and its stop-and-continue bit for bit."""

import contextlib
import io
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde._training_loop as training_loop
from hjpde._progress import progress
from hjpde._serialisation import load, save
from hjpde._training_loop import train, train_many

TRACES = []


def squares(model, batch, key):
    """Linear least squares with a weight a row; counts how often it is traced."""
    TRACES.append(1)
    del key
    X, y, weights = batch
    return jnp.sum(weights * (X @ model["w"] + model["c"] - y) ** 2) / jnp.sum(weights)


def noisy(model, batch, key):
    X, y = batch
    return jnp.mean((X @ model["w"] - y + 0.1 * jax.random.normal(key, y.shape)) ** 2)


def absolute(model, validation):
    X, y, _ = validation
    return jnp.mean(jnp.abs(X @ model["w"] + model["c"] - y))


def problem(n=40, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, X @ np.array([1.0, -2.0, 0.5]) + 0.25 + 0.1 * rng.normal(size=n), np.ones(n)


def start():
    return {"w": jnp.zeros(3), "c": jnp.zeros(())}


def normal_equations(X, y, weights):
    design = np.column_stack([X, np.ones(len(X))]) * np.sqrt(weights)[:, None]
    return np.linalg.lstsq(design, y * np.sqrt(weights), rcond=None)[0]


def vector(model):
    return np.append(np.asarray(model["w"]), np.asarray(model["c"]))


def same(one, other):
    return bool(eqx.tree_equal(eqx.filter(one, eqx.is_array), eqx.filter(other, eqx.is_array)))


@pytest.mark.parametrize(("optimiser", "steps"), [("adam", 600), ("lbfgs", 30)])
def test_reaches_the_least_squares_solution(getkey, optimiser, steps):
    data = problem()
    result = train(squares, start(), data, steps=steps, optimiser=optimiser, learning_rate=0.1, key=getkey())
    x64 = jnp.result_type(float) == jnp.float64
    np.testing.assert_allclose(vector(result.model), normal_equations(*data), atol=1e-6 if x64 else 1e-3)
    assert result.steps == steps
    assert [entry["step"] for entry in result.history][-1] == steps
    assert not result.stopped_early
    assert not result.interrupted
    assert result.run_seconds > 0


def test_padded_rows_of_weight_zero_change_nothing(getkey):
    X, y, weights = problem()
    padded = (np.r_[X, X + 9], np.r_[y, 0 * y], np.r_[weights, 0 * weights])
    key = getkey()
    options = {"steps": 60, "key": key, "batch_size": 8}
    one = train(squares, start(), (X, y, weights), **options)
    other = train(squares, start(), padded, n_rows=len(X), **options)
    assert same(one.model, other.model)


def test_one_compilation_serves_every_number(getkey):
    data = problem()
    train(squares, start(), data, steps=5, key=getkey(), batch_size=4)
    TRACES.clear()
    for steps, rate, chunk in ((7, 0.1, 3), (20, 0.01, 50)):
        train(squares, start(), data, steps=steps, learning_rate=rate, chunk=chunk, key=getkey(), batch_size=4)
    train(squares, start(), data, steps=9, key=getkey(), batch_size=4, until=4, patience=2)
    assert not TRACES


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_continued_run_is_the_same_bit_for_bit(getkey, tmp_path, optimiser):
    data, key = problem(), getkey()
    options = {
        "steps": 50,
        "chunk": 10,
        "key": key,
        "batch_size": 16 if optimiser == "adam" else None,
        "optimiser": optimiser,
        "validation": problem(20, seed=1),
        "score": absolute,
    }
    whole = train(squares, start(), data, **options)
    part = train(squares, start(), data, until=11, **options)
    assert part.steps == 20
    save(tmp_path / "run.hjpde", part.state)
    resumed = train(squares, start(), data, state=load(tmp_path / "run.hjpde"), **options)
    assert same(whole.model, resumed.model)
    assert same(whole.state, resumed.state)
    assert whole.history == resumed.history


def test_continued_run_draws_the_same_noise(getkey):
    X, y, _ = problem()
    options = {"steps": 30, "chunk": 10, "key": getkey(), "batch_size": 8}
    whole = train(noisy, {"w": jnp.zeros(3)}, (X, y), **options)
    part = train(noisy, {"w": jnp.zeros(3)}, (X, y), until=10, **options)
    assert same(whole.model, train(noisy, {"w": jnp.zeros(3)}, (X, y), state=part.state, **options).model)


def test_state_of_another_run_is_refused(getkey):
    X, y, weights = problem()
    part = train(squares, start(), (X, y, weights), steps=4, key=getkey())
    with pytest.raises(ValueError, match="`state` belongs to another run"):
        train(noisy, {"w": jnp.zeros(3)}, (X, y), steps=4, key=getkey(), state=part.state)


def test_early_stopping_keeps_the_best_model(getkey):
    data, validation = problem(12), problem(200, seed=1)
    result = train(
        squares,
        start(),
        data,
        steps=2000,
        learning_rate=0.2,
        batch_size=2,
        key=getkey(),
        validation=validation,
        score=absolute,
        patience=3,
        chunk=5,
    )
    scores = [entry["validation"] for entry in result.history]
    best = int(np.argmin(scores))
    assert result.stopped_early
    assert result.steps < 2000
    assert len(scores) == best + 1 + 3
    reached = absolute(result.model, jax.tree.map(jnp.asarray, validation))
    np.testing.assert_allclose(reached, scores[best], rtol=1e-5)
    assert int(result.state.best_step) == result.history[best]["step"]


def test_seeds_side_by_side_are_the_seeds_one_by_one(getkey):
    keys = jax.random.split(getkey(), 2)
    problems = [problem(seed=0), problem(seed=1)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *problems)
    models = jax.tree.map(lambda *a: jnp.stack(a), start(), jax.tree.map(lambda a: a + 1.0, start()))
    options = {"steps": 40, "batch_size": 8, "chunk": 5, "learning_rate": 0.3, "patience": 2}
    many = train_many(squares, models, stacked, keys=keys, validation=stacked, **options)
    ends = []
    for seed, data in enumerate(problems):
        model = jax.tree.map(lambda leaf, seed=seed: leaf[seed], models)
        one = train(squares, model, data, key=keys[seed], validation=data, **options)
        mine = jax.tree.map(lambda leaf, seed=seed: leaf[seed], many.model)
        tolerance = 1e-10 if jnp.result_type(float) == jnp.float64 else 1e-4
        np.testing.assert_allclose(vector(mine), vector(one.model), rtol=tolerance, atol=tolerance)
        ends.append(one.steps)
        np.testing.assert_allclose(many.history[0]["loss"][seed], one.history[0]["loss"], rtol=1e-5)
    assert many.steps == max(ends)
    np.testing.assert_array_equal(many.state.step, ends)


def test_shared_data_and_quick_compilation_give_the_same(getkey):
    keys = jax.random.split(getkey(), 2)
    data = problem()
    models = jax.tree.map(lambda a: jnp.stack([a, a]), start())
    options = {"keys": keys, "steps": 20, "batch_size": 8}
    stacked = train_many(squares, models, jax.tree.map(lambda a: np.stack([a, a]), data), **options)
    shared = train_many(squares, models, data, shared_data=True, quick_compile=True, **options)
    np.testing.assert_allclose(vector(stacked.model), vector(shared.model), rtol=1e-4)


def test_only_what_is_trainable_moves(getkey):
    model = {"w": jnp.zeros(3), "c": jnp.full((), 7.0)}
    result = train(
        squares, model, problem(), steps=10, key=getkey(), trainable={"w": True, "c": False}, learning_rate=0.1
    )
    assert float(result.model["c"]) == 7.0
    assert np.all(np.asarray(result.model["w"]) != 0)


def test_leaves_keep_their_dtype(getkey):
    model = {"w": jnp.zeros(3, jnp.float16), "c": jnp.zeros((), jnp.float32)}
    result = train(squares, model, problem(), steps=3, key=getkey())
    assert result.model["w"].dtype == jnp.float16
    assert result.model["c"].dtype == jnp.float32


def test_loss_that_is_not_finite_is_reported(getkey):
    X, y, weights = problem()
    y[3] = np.nan
    with pytest.raises(FloatingPointError, match=r"step 0 .*lower `learning_rate` \(it was 0.01\)"):
        train(squares, start(), (X, y, weights), steps=5, key=getkey())
    with pytest.raises(FloatingPointError, match="look for NaN") as caught:
        train(squares, start(), (X, y, weights), steps=5, key=getkey(), optimiser="lbfgs")
    assert "learning_rate" not in str(caught.value)
    both = jax.tree.map(lambda *a: np.stack(a), problem(), (X, y, weights))
    models = jax.tree.map(lambda a: jnp.stack([a, a]), start())
    with pytest.raises(FloatingPointError, match="loss of seed 1"):
        train_many(squares, models, both, steps=5, keys=jax.random.split(getkey(), 2))


def logarithm(model, batch, key):
    """Finite for positive `w` only; the first Newton-like steps from 1e-3 leave that."""
    del key
    return jnp.sum(batch * (model["w"] - jnp.log(model["w"])))


def test_lbfgs_survives_points_that_are_not_finite(getkey):
    result = train(logarithm, {"w": jnp.full(2, 1e-3)}, jnp.ones(1), steps=60, key=getkey(), optimiser="lbfgs")
    np.testing.assert_allclose(result.model["w"], 1.0, rtol=1e-3)


def test_an_interrupt_returns_what_was_reached(getkey, monkeypatch):
    data, key = problem(), getkey()
    runner = training_loop.chunk_runner(False)
    calls = iter(range(100))

    def interrupted(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return runner(*arguments)

    monkeypatch.setattr(training_loop, "chunk_runner", lambda quick: interrupted)
    part = train(squares, start(), data, steps=50, chunk=10, key=key, batch_size=4)
    assert part.interrupted
    assert part.steps == 20
    monkeypatch.undo()
    resumed = train(squares, start(), data, steps=50, chunk=10, key=key, batch_size=4, state=part.state)
    whole = train(squares, start(), data, steps=50, chunk=10, key=key, batch_size=4)
    assert same(whole.model, resumed.model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be positive, got 0"),
        ({"chunk": 0}, "`chunk` must be positive"),
        ({"batch_size": 0}, "`batch_size` must be positive"),
        ({"learning_rate": -1.0}, "`learning_rate` must be positive, got -1.0"),
        ({"patience": 0}, "`patience` must be positive"),
        ({"optimiser": "sgd"}, "`optimiser` must be 'adam' or 'lbfgs', got 'sgd'"),
        ({"optimiser": "lbfgs", "batch_size": 3}, "`batch_size` must be None"),
        ({"n_rows": 41}, "`n_rows` must lie between 1 and the 40 rows"),
        ({"data": (np.ones((4, 3)), np.ones(5), np.ones(4))}, "`data` must hold arrays with the same number"),
        ({"data": (np.ones((0, 3)), np.ones(0), np.ones(0))}, "at least one"),
        ({"model": {"w": 3}}, "`model` must hold at least one trainable array"),
    ],
)
def test_mistakes_are_named(getkey, change, message):
    arguments = {"model": start(), "data": problem(), "steps": 2, "key": getkey()} | change
    with pytest.raises(ValueError, match=message):
        train(squares, **arguments)


def test_progress_writes_to_standard_error_only(getkey, capsys, monkeypatch):
    train(squares, start(), problem(), steps=4, key=getkey(), progress=True)
    assert capsys.readouterr() == ("", "")
    with progress(10, "fitting", force=True) as bar:
        bar.update(10, loss=0.125)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fitting" in err
    assert "loss 0.125" in err
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    with contextlib.redirect_stderr(screen), progress(10, "fitting", enabled=False) as bar:
        bar.update(5)
    assert screen.getvalue() == ""
    assert sys.stderr is not screen
