"""Rows that are moved while their labels stay: no motion changes nothing, a symmetry of the data is learnt."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde

OPTIONS = {"n_atoms": 4, "steps": 60, "batch_size": 64, "key": jax.random.key(0)}


def half_plane(n=300):
    """Two classes of rows with a positive first coordinate, told apart by its size."""
    rng = np.random.default_rng(0)
    X = rng.uniform((0.1, -1.0, 5.0), (2.0, 1.0, 6.0), (n, 3))
    return X, (X[:, 0] > 1).astype(int)


def mirrored(key, X):
    signs = jax.random.rademacher(key, (len(X), 1), X.dtype)
    return jnp.concatenate([signs * X[:, :1], X[:, 1:]], axis=1)


def fit(augment, **changes):
    return hjpde.fit(hjpde.Classification(*half_plane()), augment=augment, **(OPTIONS | changes))


def test_rows_that_do_not_move_give_the_same_fit():
    plain, still = fit(None), fit(lambda key, X: X)
    X, _ = half_plane(20)
    tolerance = 1e-9 if jnp.result_type(float) == jnp.float64 else 1e-2
    np.testing.assert_allclose(still.predict_proba(X), plain.predict_proba(X), atol=tolerance)
    assert [line["step"] for line in still.history] == [line["step"] for line in plain.history]


def test_a_mirrored_half_teaches_the_other_half():
    X, labels = half_plane()
    other = X * np.array([-1.0, 1.0, 1.0])
    fitted = fit(mirrored, steps=600, n_atoms=8)
    seen, unseen = (np.mean(fitted.predict(points) == labels) for points in (X, other))
    # Two accuracies of 300 rows each differ by at most 0.07 (four standard deviations) if the two are equally likely.
    assert abs(seen - unseen) < 0.07
    assert unseen > 0.8
    assert np.mean(fit(None, steps=600, n_atoms=8).predict(other) == labels) < 0.7


def test_going_on_is_the_same_as_never_stopping():
    whole = fit(mirrored)
    rest = fit(mirrored, state=fit(mirrored, until=20).state)
    np.testing.assert_array_equal(rest.models[0].positions, whole.models[0].positions)


def test_refusals():
    with pytest.raises(ValueError, match=r"`augment` must return the shape \(64, 3\)"):
        fit(lambda key, X: X[:, :2])
    with pytest.raises(ValueError, match="`augment` must be None for regression"):
        hjpde.fit(hjpde.Regression(np.eye(3), np.arange(3.0)), augment=mirrored)
