"""The estimators, by scikit-learn's own checks."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hjpde.estimators import HJClassifier, HJRegressor


# Some checks are told to be skipped by the environment (array interfaces that are not enabled), with a warning.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([HJRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([HJClassifier()])
def test_scikit_learn_checks_of_a_classifier(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_digits_are_read():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    classifier = HJClassifier(metric="common").fit(X_train, y_train)
    assert classifier.score(X_test, y_test) >= 0.975
    assert classifier.fitted_.parameters == 6501


def test_it_works_in_a_pipeline_and_cross_validation():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    model = make_pipeline(StandardScaler(), HJRegressor(8, steps=200))
    assert np.mean(cross_val_score(model, X, X[:, 0] ** 2 - X[:, 1], cv=3)) > 0.8


def test_the_random_state_decides():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    one, same, other = (HJRegressor(8, steps=30, random_state=s).fit(X, y).predict(X) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
