"""Draws the README's figure: a layer of nine neurons, the solution grown from its atoms, and their sum."""

import io
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import hjpde
from hjpde._plotting import BLACK, BLUE, ORANGE, tidy

T, VISCOSITY = 0.5, 0.05
POSITIONS = np.array([-3.8, -3.0, -2.1, -1.2, 0.0, 0.8, 1.9, 2.8, 3.7])
HEIGHTS = np.cos(0.85 * POSITIONS + 0.5) + 0.12 * POSITIONS


def draw() -> Figure:
    atoms = hjpde.Atoms(POSITIONS[:, None], HEIGHTS)
    layer = hjpde.LogSumExp.from_atoms(atoms, T, VISCOSITY)
    problem = hjpde.InitialValueProblem(layer.atoms(T), hjpde.Quadratic(), VISCOSITY)
    solution = hjpde.solve(problem, T, hjpde.solvers.HopfCole(normalised=False))

    x = np.linspace(-4.2, 4.2, 801)
    f, u = np.asarray(layer.batch(x[:, None])), np.asarray(solution.batch(T, x[:, None]))
    parabola = x**2 / (4 * T)
    planes = x[:, None] * np.asarray(layer.weights[:, 0]) + np.asarray(layer.biases)
    grown = HEIGHTS + (x[:, None] - POSITIONS) ** 2 / (4 * T)
    error = np.abs(f + u - parabola).max()

    figure = Figure(figsize=(32 / 3, 4.3), layout="constrained")
    figure.get_layout_engine().set(wspace=0.09)
    left, middle, right = figure.subplots(1, 3, sharey=True)
    for ax, sign in ((left, ""), (middle, "+"), (right, "=")):
        tidy(ax, "both")
        ax.set(xlabel="x", xlim=(x[0], x[-1]), ylim=(-2.6, 8.2))
        ax.text(-0.12, 0.5, sign, transform=ax.transAxes, fontsize=28, ha="center", va="center", color=BLACK)
    left.set_ylabel("value")
    left.plot(x, planes, color=BLUE, linewidth=1, alpha=0.45)
    left.plot(x, f, color=BLUE, linewidth=3.2)
    left.set_title("layer $f$: a smooth maximum\nof nine neurons, $W_j x + b_j$", color=BLUE)
    middle.plot(x, grown, color=ORANGE, linewidth=1, alpha=0.45)
    middle.plot(x, u, color=ORANGE, linewidth=3.2)
    middle.plot(POSITIONS, HEIGHTS, "o", color=BLACK, markersize=6)
    middle.set_title(
        "solution $u$ of $u_t + |\\nabla u|^2 = \\varepsilon\\,\\Delta u$,\ngrown from nine atoms (dots)", color=ORANGE
    )
    right.plot(x, f, color=BLUE, linewidth=1.4, label="$f$")
    right.plot(x, u, color=ORANGE, linewidth=1.4, label="$u$")
    right.plot(x, f + u, color=BLACK, linewidth=3.2, label="$f + u$")
    right.plot(x[::50], parabola[::50], "o", color="white", markeredgecolor=BLACK, label="$x^2 / 4t$")
    right.legend(loc="upper center", frameon=False)
    right.set_title(f"parabola $x^2/4t$,\nto {error:.0e}: rounding")
    return figure


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    drawn = io.BytesIO()
    draw().savefig(drawn, dpi=150)
    # Few colours, so that the file is small.
    image = Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    image.save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
