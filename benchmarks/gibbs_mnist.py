"""MNIST by a Gibbs classifier: atoms of ten classes, each class' probability the Gibbs mass of its atoms.

    python benchmarks/gibbs_mnist.py FOLDER [--seeds 0 1 2] [--steps 5000] [--models FOLDER]

`FOLDER` holds MNIST's four IDX files. One JSON object a seed: test accuracy, atoms, seconds, those of all cores, and
the load of the machine; the target is 0.982 with at most 2,000 atoms in 10 minutes on 2 cores. `--models` saves each
fitted model.
"""

import argparse
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from _harness import machine

import hjpde
from hjpde._datasets import load_mnist

SIDE, SHIFT, NOISE = 28, 2, 0.1
ATOMS_A_CLASS, BATCH, LEARNING_RATE, SMOOTHING = 200, 512, 0.01, 0.1


def shifted_with_noise(key, X):
    """Images moved by up to two pixels along each axis, an ink level of noise added."""
    shift_key, noise_key = jax.random.split(key)
    images = jnp.pad(X.reshape(-1, SIDE, SIDE), ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    corners = jax.random.randint(shift_key, (len(X), 2), 0, 2 * SHIFT + 1)
    moved = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, corner, (SIDE, SIDE)))(images, corners)
    return moved.reshape(X.shape) + NOISE * jax.random.normal(noise_key, X.shape, X.dtype)


def accuracy(fitted, X, labels):
    return float(np.mean(fitted.predict(X) == labels))


def run(dataset, seed, steps):
    start, processor = time.perf_counter(), time.process_time()
    fitted = hjpde.fit(
        hjpde.Classification(dataset.X, dataset.y),
        n_atoms=ATOMS_A_CLASS,
        metric="common",
        train_viscosity=True,
        steps=steps,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        label_smoothing=SMOOTHING,
        augment=shifted_with_noise,
        validation_fraction=0.02,
        key=jax.random.key(seed),
        progress=True,
    )
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return fitted, {
        "seed": seed,
        "accuracy": accuracy(fitted, dataset.X_test, dataset.y_test),
        "atoms": int(fitted.layer.weights.shape[0]),
        "parameters": fitted.parameters,
        "steps": steps,
        "seconds": round(seconds, 1),
        "core_seconds": round(processor, 1),
        "viscosity": float(fitted.viscosity),
        "time": float(fitted.time),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--models", type=pathlib.Path)
    arguments = parser.parse_args()
    dataset = load_mnist(arguments.folder)
    for seed in arguments.seeds:
        fitted, line = run(dataset, seed, arguments.steps)
        print(json.dumps(line | machine()), flush=True)
        if arguments.models:
            hjpde.save(arguments.models / f"mnist_seed{seed}.hjpde", fitted)


if __name__ == "__main__":
    main()
