"""Certificates of a Gibbs classifier of MNIST: radii, accuracy, curvature and entropy over the temperature.

    python benchmarks/gibbs_certificates.py FOLDER MODEL [--points 200] [--pairs 100000]

`FOLDER` holds MNIST's four IDX files, `MODEL` is a fit that `gibbs_mnist.py --models` saved. In float64, in the gauge
where a score is minus the squared distance to an atom, less its height. One JSON object a temperature, the trained one
first: accuracy on 10,000 images; on the first `--points`: mean entropy, medians of the certified radii, certified
accuracy at r = 0.5 and 1, the accuracy that an attack leaves there; the median by which the local curvature bound at
r = 0.1 is below diam(W)^2 / 4 eps; and how many of `--pairs` pairs of an image and a move as long as its certified
radius break the certificate or leave the local curvature bound by more than 1e-9.
"""

import argparse
import json
import pathlib

import jax
import numpy as np
from _harness import machine

import hjpde
from hjpde import analysis
from hjpde._datasets import load_mnist
from hjpde._log_sum_exp import gibbs_entropy

TEMPERATURES = (0.1, 0.3, 1.0, 3.0, 10.0)
SLACK, BLOCK = 1e-9, 2000


def logsumexp(z):
    top = z.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(z - top).sum(axis=-1))


def violations(classifier, X, radii, local, pairs, seed=0):
    """Random moves as long as the radius: the class must stay, the remainder of the tangent below the bound."""
    rng = np.random.default_rng(seed)
    W, b, eps = (np.asarray(part) for part in (classifier.weights, classifier.biases, classifier.viscosity))
    flat = W.reshape(-1, W.shape[-1])

    def scores(points):
        z = ((points @ flat.T).reshape(len(points), *b.shape) + b) / eps
        return eps * logsumexp(z), eps * logsumexp(z.reshape(len(points), -1)), z.reshape(len(points), -1)

    own, value, z = scores(X)
    predicted = own.argmax(axis=1)
    slopes = np.exp(z - value[:, None] / eps) @ flat
    broken = count = 0
    while count < pairs:
        rows = rng.integers(0, len(X), min(BLOCK, pairs - count))
        delta = rng.normal(size=(len(rows), X.shape[1]))
        delta *= (radii[rows] / np.linalg.norm(delta, axis=1))[:, None]
        moved, total, _ = scores(X[rows] + delta)
        kept = np.take_along_axis(moved, predicted[rows, None], axis=1)[:, 0]
        broken += int((kept < moved.max(axis=1) - SLACK).sum())
        remainder = total - value[rows] - (slopes[rows] * delta).sum(axis=1)
        broken += int(((remainder < -SLACK) | (remainder > local[rows] * radii[rows] ** 2 / 2 + SLACK)).sum())
        count += len(rows)
    return broken


def run(classifier, dataset, points, pairs):
    key = jax.random.key(0)
    X_test, y_test = np.asarray(dataset.X_test, float), dataset.y_test
    X, y = X_test[:points], y_test[:points]
    predictions = np.concatenate([np.asarray(classifier.predict(part)) for part in np.array_split(X_test, 10)])
    result = analysis.certified_accuracy(classifier, X, y, (0.5, 1.0), key=key)
    best = np.asarray(result.certificates.best)
    layer = classifier.layer
    near = analysis.curvature_bounds(layer, X[:60], 0.1, key=key)
    ball = analysis.curvature_bounds(layer, X, best, key=key, steps=1)
    found = analysis.attack(classifier, X, best, key=key)
    entropy = gibbs_entropy(X, layer.weights, layer.biases, layer.viscosity)
    medians = {name: float(np.median(radii)) for name, radii in result.certificates.radii.items()}
    return {
        "viscosity": float(classifier.viscosity),
        "accuracy": float(np.mean(predictions == y_test)),
        "entropy": float(np.mean(entropy)),
        "median_radius": medians,
        "best_over_row_norm": float(np.median(best)) / medians["row_norm"],
        "certified": {name: values.tolist() for name, values in result.certified.items()},
        "attacked": None if result.attacked is None else result.attacked.tolist(),
        "diameter_over_local": float(np.median(float(near.diameter) / np.asarray(near.local))),
        "measured": float(np.median(near.measured)),
        "attack_breaks": int(np.sum(np.asarray(found.margins) < -SLACK)),
        "pairs": pairs,
        "violations": violations(classifier, X, best, np.asarray(ball.local), pairs),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=100_000)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    dataset, fitted = load_mnist(arguments.folder), hjpde.load(arguments.model)
    trained = jax.tree.map(lambda leaf: leaf.astype(float), analysis.GibbsClassifier.of(fitted))
    for viscosity in (float(trained.viscosity), *TEMPERATURES):
        line = run(trained.at_viscosity(viscosity), dataset, arguments.points, arguments.pairs)
        print(json.dumps(line | machine()), flush=True)


if __name__ == "__main__":
    main()
