"""The streaming log-sum-exp against naive jax and, where installed, torch, pykeops and ott.

    python benchmarks/log_sum_exp.py [SETTING ...]

One JSON object a line: the setting, the first call (compilation included) apart from the median of interleaved later
ones, the error against numpy's float64 on sampled queries, resident memory beyond inputs and outputs, and the ratio to
the machine's floor. The floor is one exponential a pair and the matrix products, at the rates measured here. Then a
table. The first rows decide: `small-d` needs a speed-up of 5, `large-d` of 1.
"""

import argparse
import importlib
import json
import os
import platform

import jax
import jax.numpy as jnp
import numpy as np
from _harness import matmul_rate, paired_medians, rate, resident_growth, timed

from hjpde._log_sum_exp import log_sum_exp
from hjpde._streaming import exp2

# name: queries, neurons, dimension, dtype, whether the M x N table fits for the peers that need it
SETTINGS = {
    "small-d": (10_000, 10_000, 2, "float32", True),
    "large-d": (2_000, 10_000, 784, "float32", True),
    "many-queries": (100_000, 10_000, 2, "float32", False),
    "small-d-float64": (10_000, 10_000, 2, "float64", True),
}
OPERATIONS = ("value", "value+gradient", "value+gradient in W, b")


def data(setting):
    n_queries, n_neurons, dimension, dtype, _ = SETTINGS[setting]
    rng = np.random.default_rng(5)
    X, W = rng.uniform(-1, 1, (n_queries, dimension)), rng.normal(size=(n_neurons, dimension))
    b = -0.5 * (W**2).sum(1)
    eps = 0.1 if dimension <= 8 else 2.0 * dimension**0.5
    return X.astype(dtype), W.astype(dtype), b.astype(dtype), eps


def reference(X, W, b, eps, sample):
    """Value and gradient of the sampled queries in numpy's float64."""
    z = (X[sample].astype("float64") @ W.T.astype("float64") + b) / eps
    top = z.max(1, keepdims=True)
    p = np.exp(z - top)
    return eps * (top[:, 0] + np.log(p.sum(1))), p / p.sum(1, keepdims=True) @ W


# ---- Each library as a function from the data to one call an operation --------------------------------------------


def _jax_calls(f, X, W, b):
    X, W, b = jnp.asarray(X), jnp.asarray(W), jnp.asarray(b)
    ones = jnp.ones(X.shape[0], X.dtype)

    def in_queries(X, W, b):
        value, pullback = jax.vjp(lambda X: f(X, W, b), X)
        return value, pullback(ones)[0]

    def in_parameters(X, W, b):
        value, pullback = jax.vjp(lambda W, b: f(X, W, b), W, b)
        return value, *pullback(ones)

    compiled = [jax.jit(g) for g in (f, in_queries, in_parameters)]
    return [lambda g=g: g(X, W, b) for g in compiled]


def hjpde_calls(X, W, b, eps):
    return _jax_calls(lambda X, W, b: log_sum_exp(X, W, b, eps), X, W, b)


def naive_calls(X, W, b, eps):
    return _jax_calls(lambda X, W, b: eps * jax.nn.logsumexp((X @ W.T + b) / eps, axis=1), X, W, b)


def ott_calls(X, W, b, eps):
    costs = importlib.import_module("ott.geometry.costs")
    pointcloud = importlib.import_module("ott.geometry.pointcloud")

    @jax.tree_util.register_pytree_node_class
    class NegativeDot(costs.CostFn):
        def __call__(self, x, y):
            return -jnp.dot(x, y)

        def tree_flatten(self):
            return (), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls()

    def f(X, W, b):
        cloud = pointcloud.PointCloud(X, W, cost_fn=NegativeDot(), epsilon=eps, batch_size=256)
        return cloud.apply_lse_kernel(jnp.zeros(X.shape[0], X.dtype), b, eps, axis=1)[0]

    return _jax_calls(f, X, W, b)


def _torch_calls(f, X, W, b):
    torch = importlib.import_module("torch")
    X, W, b = (torch.from_numpy(a) for a in (X, W, b))

    def value():
        with torch.no_grad():
            return (f(X, W, b).numpy(),)

    def gradient(*indices):
        leaves = [a.clone().requires_grad_(i in indices) for i, a in enumerate((X, W, b))]
        out = f(*leaves)
        gradients = torch.autograd.grad(out.sum(), [leaves[i] for i in indices])
        return (out.detach().numpy(), *(g.numpy() for g in gradients))

    return [value, lambda: gradient(0), lambda: gradient(1, 2)]


def torch_calls(X, W, b, eps):
    torch = importlib.import_module("torch")
    return _torch_calls(lambda X, W, b: eps * torch.logsumexp((X @ W.T + b) / eps, dim=1), X, W, b)


def pykeops_calls(X, W, b, eps):
    lazy = importlib.import_module("pykeops.torch").LazyTensor

    def f(X, W, b):
        scores = (lazy((X / eps)[:, None, :]) | lazy(W[None])) + lazy((b / eps)[None, :, None])
        return eps * scores.logsumexp(1).reshape(-1)

    return _torch_calls(f, X, W, b)


# Name: its calls, and whether it holds the whole table.
LIBRARIES = {
    "hjpde": (hjpde_calls, False),
    "naive jax": (naive_calls, True),
    "ott": (ott_calls, True),
    "torch": (torch_calls, True),
    "pykeops": (pykeops_calls, False),
}


# ---- Measuring -----------------------------------------------------------------------------------------------------


def rates(dtype):
    """Exponentials and floating-point operations a second of this machine, by the fastest means jax has."""
    start = jnp.full(1 << 18, -0.5, dtype)
    exponentials = [rate(lambda x, f=f: -f(x), start, start.size, 200) for f in (jnp.exp, jnp.exp2, exp2)]
    return max(exponentials), matmul_rate(dtype)


def floor(setting, operation, measured):
    """Seconds for one exponential a pair (two where the table is recomputed) and the matrix products."""
    n_queries, n_neurons, dimension, _, _ = SETTINGS[setting]
    exponentials, products = {"value": (1, 1), "value+gradient": (1, 2)}.get(operation, (2, 3))
    pairs = n_queries * n_neurons
    return pairs * (exponentials / measured[0] + 2.0 * dimension * products / measured[1])


def available(setting, arguments):
    """The calls of the libraries that are installed and whose table fits; says which are left out."""
    calls = {}
    for name, (build, holds_table) in LIBRARIES.items():
        if holds_table and not SETTINGS[setting][4]:
            continue
        try:
            calls[name] = build(*arguments)
        except Exception as error:  # a peer that is absent or broken is no failure of this script
            print(json.dumps({"library": name, "skipped": f"{type(error).__name__}: {error}"[:200]}))
    return calls


def measure(setting, operation, calls, arguments, measured, repeats):
    index = OPERATIONS.index(operation)
    X, W, b, eps = arguments
    sample = np.random.default_rng(1).integers(0, X.shape[0], 32)
    exact = reference(X, W, b, eps, sample)
    rows, running = {}, {}
    for name, operations in calls.items():
        call = operations[index]
        try:
            out, first = timed(call)
        except Exception as error:  # as above
            print(
                json.dumps(
                    {"library": name, "operation": operation, "failed": f"{type(error).__name__}: {error}"[:200]}
                )
            )
            continue
        out = list(out) if isinstance(out, tuple) else [out]
        errors = {"value_error": float(np.abs(np.asarray(out[0])[sample] - exact[0]).max() / np.abs(exact[0]).max())}
        if index == 1:
            gap = np.abs(np.asarray(out[1])[sample] - exact[1]).max()
            errors["gradient_error"] = float(gap / np.abs(exact[1]).max())
        del out
        rows[name] = {"first_call": first, **errors, "resident_mb": resident_growth(call)}
        running[name] = call
    for name, seconds in paired_medians(running, repeats).items():
        head = {"setting": setting, "operation": operation, "library": name, "median": seconds}
        ratio = seconds / floor(setting, operation, measured)
        rows[name] = {**head, **rows[name], "ratio_to_floor": ratio}
        print(json.dumps(rows[name]), flush=True)
    return list(rows.values())


def print_table(rows):
    print(
        f"\n{'setting':18}{'operation':24}{'library':11}{'ms':>9}{'speed-up':>10}{'x floor':>9}{'MB':>7}{'error':>10}"
    )
    for row in rows:
        own = next(r for r in rows if r["library"] == "hjpde" and r["setting"] == row["setting"]
                   and r["operation"] == row["operation"])  # fmt: skip
        memory = "" if row["resident_mb"] is None else f"{row['resident_mb']:.0f}"
        print(
            f"{row['setting']:18}{row['operation']:24}{row['library']:11}{1e3 * row['median']:9.1f}"
            f"{row['median'] / own['median']:10.2f}{row['ratio_to_floor']:9.1f}{memory:>7}"
            f"{max(row['value_error'], row.get('gradient_error', 0.0)):10.1e}"
        )
    print("speed-up: of hjpde over the row's library")


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=", ".join(SETTINGS))
    parser.add_argument("--repeats", type=int, default=7, help="rounds of interleaved runs (default 7)")
    options = parser.parse_args()
    unknown = set(options.settings) - set(SETTINGS)
    if unknown:
        parser.error(f"unknown setting {sorted(unknown)}; known: {', '.join(SETTINGS)}")
    rows = []
    for setting in options.settings or SETTINGS:
        dtype = SETTINGS[setting][3]
        with jax.enable_x64(dtype == "float64"):
            measured = rates(dtype)
            machine = {"device": str(jax.devices()[0]), "cores": os.cpu_count(), "jax": jax.__version__}
            machine |= {"python": platform.python_version(), "load": os.getloadavg()[0], "dtype": dtype}
            rates_line = {"exponentials_per_second": measured[0], "matmul_flops": measured[1]}
            print(json.dumps({"setting": setting, **machine, **rates_line}), flush=True)
            arguments = data(setting)
            calls = available(setting, arguments)
            for operation in OPERATIONS:
                rows += measure(setting, operation, calls, arguments, measured, options.repeats)
    print_table(rows)


if __name__ == "__main__":
    main()
