"""The main job's table, figures and page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hjpde._demo import SWEEP, Demo, gibbs_weights, settings
from hjpde._demo_models import ATOMS_PER_CLASS, BATCH_SIZE, CANDIDATE_RATES, CLASSES, SIDE
from hjpde._plotting import accuracy_figure, atoms_figure, explanation_figure, history_figure, temperature_figure
from hjpde._report import Column, Picture, Section, TableOf, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TOP = 8


def demo_table(demo: Demo) -> TableOf:
    """The five models side by side."""
    n = len(demo.split.seeds)
    return TableOf(
        name="results",
        caption=f"Means over {n} seeds; ± is the spread, the largest value minus the smallest.",
        columns=(
            Column("title", "model", number=False),
            Column("accuracy", "accuracy [%]", lambda v: f"{100 * v:.2f}"),
            Column("accuracy_spread", "±", lambda v: f"{100 * v:.2f}"),
            Column("loss", "loss [nats]", lambda v: f"{v:.3f}"),
            Column("loss_spread", "±", lambda v: f"{v:.3f}"),
            Column("parameters", "numbers", lambda v: f"{v:,}"),
            Column("train_seconds", "train [s]", lambda v: f"{v:.2f}"),
            Column("compile_seconds", "compile [s]", lambda v: f"{v:.2f}"),
            Column("inference_microseconds", "image [µs]", lambda v: f"{v:.2f}"),
            Column("learning_rate", "rate", lambda v: f"{v:g}"),
        ),
        rows=demo.rows,
    )


def networks_table(demo: Demo) -> TableOf:
    """The four networks beside their flows and the fitted solution operator."""
    return TableOf(
        name="networks",
        caption=f"Means over {len(demo.split.seeds)} seeds, on test images.",
        columns=(
            Column("title", "model", number=False),
            Column("relative_gap", "off its flow", lambda v: f"{100 * v:.3g} %"),
            Column("native_gap", "gap [nats]", lambda v: f"{v:.1e}"),
            Column("order", "order", lambda v: f"{v:.2f}"),
            Column("costate_residual", "co-state", lambda v: f"{v:.0e}"),
            Column("roughness", "roughness", lambda v: f"{v:.3g}"),
            Column("operator_gap", "operator gap", lambda v: f"{v:.3f}"),
            Column("operator_gap_95", "95 %", lambda v: f"{v:.2f}"),
            Column("operator_gradient_gap", "gradient gap", lambda v: f"{v:.2f}"),
            Column("operator_gradient_gap_95", "95 %", lambda v: f"{v:.2f}"),
            Column("equal_decisions", "equal [%]", lambda v: f"{100 * v:.1f}"),
        ),
        rows=demo.rows[1:],
    )


def write_demo_report(folder: Path, demo: Demo) -> Path:
    """Writes the page, the figures and the tables into an existing folder; returns the page's path."""
    n_train, n_test = demo.split.X.shape[1], demo.split.X_test.shape[1]
    lead = (
        f"Initial data of a Hamilton-Jacobi equation, fitted to {n_train:,} images of handwritten digits, recognise "
        f"{100 * demo.rows[0]['accuracy']:.1f} % of {n_test} unseen ones (mean of {len(demo.split.seeds)} seeds). "
        f"{_rank(demo)} The fit is a log-sum-exp layer and a solution of the equation at once: the two readings agree "
        f"to a relative {_scientific(demo.layer_identity_residual)}."
    )
    sections = (
        _how_to_read(),
        _comparison(demo, n_train, n_test),
        _inside(demo),
        _identity(demo),
        _as_discretisations(demo),
        _remarks(),
    )
    return write_report(folder, "A layer is a solution: handwritten digits", lead, sections, _settings(demo))


def _rank(demo: Demo) -> str:
    best = max(demo.rows[1:], key=lambda row: row["accuracy"])
    difference = 100 * (demo.rows[0]["accuracy"] - best["accuracy"])
    n_images = demo.split.y_test.size
    images = round(abs(difference) / 100 * n_images)
    reached = (
        f"The best of four networks of the same size and budget, the {best['title']}, reaches "
        f"{100 * best['accuracy']:.1f} %"
    )
    if images == 0:
        return f"{reached}: the same number of images."
    return f"{reached}, {images} {'fewer' if difference > 0 else 'more'} of {n_images:,} images."


def _scientific(value: float) -> str:
    """Such as 2 × 10⁻⁷."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _how_to_read() -> Section:
    return Section(
        "How to read this",
        [
            "Each class owns ten atoms: point masses at positions $y_j$ (an image each) with heights $g_j$. From all "
            "of them together grows a solution $u(t, x)$ of the viscous Hamilton-Jacobi equation $u_t + |∇u|² = ε Δu$, "
            "and each atom has a share in it at every image $x$, its Gibbs weight "
            "$π_j(x) ∝ exp(−(g_j + |x − y_j|²/4t)/ε)$. An image is given the class whose atoms together weigh most. So "
            "every decision is a weighted vote of pictures that one can look at, and $ε$ is the temperature of the "
            "vote. The other four models are networks without such a reading; they show what the same number of "
            "trained numbers gives.",
        ],
    )


def _comparison(demo: Demo, n_train: int, n_test: int) -> Section:
    titles = [row["title"] for row in demo.rows]
    smallest = min(row["parameters"] for row in demo.rows)
    largest = max(row["parameters"] for row in demo.rows)
    overlap = _overlapping(demo)
    one_image = 100 / n_test
    return Section(
        "Five models, one budget",
        [
            f"Every model has {smallest:,} to {largest:,} trained numbers, {demo.steps:,} steps of Adam on batches of "
            f"{BATCH_SIZE} images, and the same cosine schedule. The first rate, in the last column, was chosen for "
            f"each model from {', '.join(map(str, CANDIDATE_RATES))} by the accuracy on eight other splits of the "
            f"data (seeds 10 to 17); of rates that differ by less than 0.1 points, the smaller.",
            demo_table(demo),
            "Train is the wall time of all seeds side by side, k-means for the atoms included, compilation "
            "apart. An image's time is the median of 15 compiled calls on all test images of all seeds, divided by "
            "their number. Loss is the cross-entropy on the test images.",
            Picture(
                "accuracy",
                accuracy_figure(titles, [row["accuracies"] for row in demo.rows]),
                "Test accuracy of the five models, one dot a seed and a bar at the mean.",
                f"Test accuracy; a dot is one seed, the bar and the number are the mean. One image is {one_image:.2f} "
                f"points. {overlap}",
            ),
            Picture(
                "history",
                history_figure(titles, [one.curve for one in demo.trained], "nats"),
                "Training loss against steps for the five models.",
                _history_caption(demo),
            ),
        ],
    )


def _history_caption(demo: Demo) -> str:
    words = "Cross-entropy on the training batches, mean over the seeds. "
    if max(one.curve[-1][1] for one in demo.trained) < 0.02:
        return words + (
            "Every model fits its training images almost perfectly within the budget: what is left between them is "
            "how they generalise, not how far they were trained."
        )
    return words + "Not every model fits its training images within these steps: those would gain from more."


def _overlapping(demo: Demo) -> str:
    first = demo.rows[0]["accuracies"]
    within = [row["title"] for row in demo.rows[1:] if max(row["accuracies"]) >= min(first)]
    if not within:
        return "No seed of another model reaches the weakest seed of the HJ fit: on these splits it is the best."
    names = " and the ".join(within) if len(within) < 3 else f"{', the '.join(within[:-1])} and the {within[-1]}"
    return f"The dots of the HJ fit overlap with those of the {names}: three seeds do not tell these apart."


def _inside(demo: Demo) -> Section:
    atoms = np.asarray(demo.atoms.positions).reshape(CLASSES, ATOMS_PER_CLASS, SIDE, SIDE)
    low, high = np.percentile(atoms, [1, 99])
    sweep = demo.sweep
    return Section(
        "What was learnt",
        [
            Picture(
                "atoms",
                atoms_figure(atoms, [str(c) for c in range(CLASSES)], float(low), float(high)),
                "The hundred learnt atoms as images of 8 by 8 pixels, ten for each digit.",
                f"The hundred atoms of seed {demo.split.seeds[0]}, one row a class; dark is ink. They began as the "
                "centres of k-means and are still digits in different hands: what the fit compares an image with can "
                f"be seen. Pixels are free to leave the range of images, 0 to 1; they run from {atoms.min():.1f} to "
                f"{atoms.max():.1f} (drawn: {low:.1f} to {high:.1f}).",
            ),
            Picture("explained", *_explanation(demo)),
            Picture(
                "temperature",
                temperature_figure(SWEEP, sweep.accuracy, sweep.entropy, float(np.log(CLASSES * ATOMS_PER_CLASS))),
                "Accuracy and mean entropy against the temperature.",
                _temperature_caption(demo),
            ),
        ],
    )


def _explanation(demo: Demo) -> "tuple[Figure, str, str]":
    X, y = demo.split.X_test[0], demo.split.y_test[0]
    weights = gibbs_weights(demo.atoms, X)
    groups = np.repeat(np.arange(CLASSES), ATOMS_PER_CLASS)
    shares = weights @ np.eye(CLASSES)[groups]
    predicted = np.argmax(shares, axis=1)
    sureness = shares.max(axis=1)
    right, wrong = np.flatnonzero(predicted == y), np.flatnonzero(predicted != y)
    cases = [group[np.argmin(sign * sureness[group])] for group, sign in ((right, 1), (wrong, -1)) if len(group)]
    positions = np.asarray(demo.atoms.positions).reshape(-1, SIDE, SIDE)

    def case(i: int) -> dict[str, Any]:
        top = np.argsort(-weights[i])[:_TOP]
        return {
            "image": X[i].reshape(SIDE, SIDE),
            "title": f"a {y[i]}, taken for a {predicted[i]}\n({100 * shares[i, predicted[i]]:.1f} % of the weight)",
            "atoms": positions[top],
            "weights": weights[i, top].tolist(),
            "labels": [str(group) for group in groups[top]],
            "agree": (groups[top] == y[i]).tolist(),
        }

    caption = (
        f"Left, test images; right, the {_TOP} atoms with the largest Gibbs weight, and below each its weight: blue "
        "for atoms of the true class, orange for others. "
    )
    if len(right):
        caption += "First the least sure of the right decisions: one sees between which pictures the vote was split. "
    if len(wrong):
        caption += "Last the surest of the mistakes: a large weight is no promise of being right."
    return (
        explanation_figure([case(int(i)) for i in cases]),
        "Test images beside the eight atoms with the largest Gibbs weight.",
        caption,
    )


def _temperature_caption(demo: Demo) -> str:
    factors, mean = np.asarray(demo.sweep.factors), 100 * demo.sweep.accuracy.mean(axis=0)
    trained = int(np.flatnonzero(factors == 1)[0])
    voters = np.exp(demo.sweep.entropy.mean(axis=0)[trained])
    good = factors[mean >= mean[trained] - 1]
    down = "every lower one tried" if good.min() == factors[0] else f"{good.min():.2g} times the trained one"
    up = "every higher one" if good.max() == factors[-1] else f"{good.max():.2g} times the trained one"
    return (
        "The atoms as trained, read at other temperatures; nothing is trained anew. Towards $ε = 0$, the inviscid "
        f"limit, the one nearest atom decides alone (accuracy {mean[0]:.1f} % at 1/{1 / factors[0]:.0f} of the trained "
        f"temperature, {mean[trained]:.1f} % as trained). At the other end all hundred weigh nearly the same, their "
        f"entropy nears log N, and only the mean over a class is left ({mean[-1]:.1f} %). As trained, an image rests "
        f"on about {voters:.1f} atoms (the exponential of the mean entropy). Accuracy stays within one point from "
        f"{down} up to {up}: the temperature need not be tuned finely."
    )


def _identity(demo: Demo) -> Section:
    return Section(
        "The identity",
        [
            "The fit is exported as a log-sum-exp layer of a hundred neurons, "
            "$f(x) = ε log Σ_j exp((W_j · x + b_j)/ε)$ with $W_j = y_j/2t$ and $b_j = −g_j − |y_j|²/4t$. The theory "
            "says that $f(x) + u(t, x) = |x|²/4t$ for every $x$. Here $f$ comes from the streaming kernel, and $u$ "
            "from hjpde.solve by squared distances to the atoms. Over all test images of all seeds the largest "
            f"difference, divided by $|f| + |u| + |x|²/4t$, is {_scientific(demo.layer_identity_residual)} in "
            f"{_precision(demo)}, whose unit roundoff is {_scientific(float(np.finfo(_precision(demo)).eps) / 2)}: "
            "what is seen is rounding.",
        ],
    )


def _as_discretisations(demo: Demo) -> Section:
    widest = max(demo.rows[1:], key=lambda row: row["relative_gap"])
    nearest = min(demo.rows[1:], key=lambda row: row["relative_gap"])
    parts: list[Any] = [
        "Along depth or time a network moves its state as $ż = F(s, z)$, and what the rest of it returns solves a "
        "first-order Hamilton-Jacobi equation with the Hamiltonian $F·p$. How far off a trained network ends, "
        "over the way that the flow goes, says whether this is a description of it or only of its form: the "
        f"{nearest['title']} ends {100 * nearest['relative_gap']:.3g} % off, the {widest['title']} "
        f"{100 * widest['relative_gap']:.3g} %. The order is that of networks with 4, 8 and 16 steps in place of each "
        "layer's one. The co-state column is the largest relative difference between the co-state recursion and "
        "backpropagation: rounding. The operator gap compares the class probabilities with those of the fit (half the "
        "sum of differences), the gradient gap their derivatives in the pixels, relative to the network's: models that "
        "decide alike need not look alike.",
        networks_table(demo),
    ]
    entropies = next((network.head_entropies for network in demo.networks if network.head_entropies is not None), None)
    if entropies is not None:
        listed = ", ".join(f"{value:.2f}" for value in entropies.ravel())
        parts.append(
            f"Each head of the transformer is a Gibbs measure over the {SIDE} rows of the image; their entropies are "
            f"{listed} nats, where log {SIDE} = {np.log(SIDE):.2f} is even attention and 0 a single row."
        )
    return Section("The networks as discretisations", parts)


def _precision(demo: Demo) -> str:
    return str(demo.atoms.positions.dtype)


def _remarks() -> Section:
    return Section(
        "What this shows, and what it does not",
        [
            [
                "Equal budgets are equal counts of numbers, steps and images a step. They are neither equal time nor "
                "equal care: of each model one size was tried, with three rates, and for the atoms also four starting "
                "temperatures. Each network could be made better.",
                "This is one small data set with few seeds, and images so small that distances between pixels mean "
                "much. It is a demonstration, not a benchmark, and says little about larger images.",
                "The atoms start at k-means centres of the training images, the networks at random weights. That "
                "start is part of the method, and its time is counted.",
                "Only the log-sum-exp layer is exactly a solution. A deterministic network (residual, GRU, "
                "state-space, transformer) has no viscosity; along depth or time it can be read as a transport "
                "equation, which is another statement: hjpde compare looks at it more closely.",
                "The time $t$ is a gauge: another $t$ with other atoms gives the same layer. Positions, heights and "
                "$t$ only mean something together.",
            ]
        ],
    )


def _settings(demo: Demo) -> dict[str, Any]:
    made = settings(demo)
    sizes = "; ".join(f"{row['title']}: {row['size']}" for row in demo.rows)
    return {
        "data": f"scikit-learn's digits, 8 by 8 pixels from 0 to 1; {demo.split.X.shape[1]:,} to train, "
        f"{demo.split.X_test.shape[1]} to test, stratified, a new split for each seed",
        "models": sizes,
        "seeds": made["seeds"],
        "steps of Adam": f"{demo.steps:,}, batches of {BATCH_SIZE}",
        "precision": made["precision"],
        "device": made["device"],
        "versions": made["versions"],
        "run time without the page": f"{made['seconds']} s",
        "made by": "hjpde demo",
    }
