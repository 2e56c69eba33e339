"""The panel of a transformer's heads as Gibbs measures: their entropies by layer, over the temperature."""

import equinox as eqx
import jax
import numpy as np

from hjpde._demo_models import CLASSES, SIDE, Contestant, Split, seed_of, train_contestant
from hjpde._network_measures import mean_head_entropies, network_outputs
from hjpde._plotting import BLACK, CYCLE
from hjpde.architectures import Transformer

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked, twice, upright

_DEPTH, _HEADS, _WIDTH = 3, 4, 24
_FACTORS = 2.0 ** np.arange(-4, 4.25, 0.5)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
_DASHES = ("solid", "dash", "dot")
_IMAGES = 200


def _build(key: jax.Array) -> Transformer:
    return Transformer(SIDE, SIDE, width=_WIDTH, heads=_HEADS, hidden=48, depth=_DEPTH, out_size=CLASSES, key=key)


_CONTESTANT = Contestant("transformer", "transformer", "over rows, 3 blocks, 4 heads, width 24", 0.01, _build, True)


def _at_temperature(network: Transformer, factor: float) -> Transformer:
    """All heads at `factor` times their temperature."""
    query = network.blocks.attention.query
    return eqx.tree_at(lambda n: n.blocks.attention.query, network, query / factor)


def heads_panel(split: Split, steps: int, progress: bool) -> Panel:
    """A transformer trained on the rows of digits: every head's entropy, the temperature moved after training."""
    network = seed_of(train_contestant(_CONTESTANT, split, steps, progress).models, 0)
    X, labels = split.X_test[0, :_IMAGES].reshape(-1, SIDE, SIDE), split.y_test[0, :_IMAGES]
    networks = [_at_temperature(network, factor) for factor in _FACTORS.tolist()]
    entropies = np.array([mean_head_entropies(one, X) for one in networks], float)
    accuracy = np.array([np.mean(np.argmax(network_outputs(one, X), axis=-1) == labels) for one in networks])
    largest, start = np.log(SIDE), int(np.argmin(np.abs(np.log(_FACTORS))))
    trained = entropies[start] / largest
    layers = np.arange(1, _DEPTH + 1)
    thirds = [
        line([0.5, _DEPTH + 0.5], [part * largest] * 2, name, colour=BLACK, dash=dash, width=1)
        for part, name, dash in ((1.0, "log 8", "solid"), (0.66, "two thirds", "dash"), (0.33, "one third", "dot"))
    ]
    heads = [
        dots(
            layers + 0.12 * (h - 1.5), entropies[0, :, h], f"head {h + 1}", colour=CYCLE[h], symbol=_SYMBOLS[h], size=14
        )
        for h in range(_HEADS)
    ]
    curves = [
        line(
            _FACTORS, entropies[:, k, h], f"layer {k + 1}" if h == 0 else None, row=2, colour=CYCLE[k], dash=_DASHES[k]
        )
        for k in range(_DEPTH)
        for h in range(_HEADS)
    ]
    marker = upright(row=2, dash="dashdot")
    head = _WIDTH // _HEADS
    rows = (
        Row("layer", "entropy [nats]", 1.1, {"tickvals": layers.tolist()}, {"range": [0, 1.06 * largest]}),
        Row(
            f"ε, in units of √{head}",
            "entropy [nats]",
            1.0,
            {"type": "log", "dtick": 1},
            {"range": [0, 1.06 * largest]},
        ),
    )
    low, high = np.sum(trained < 0.33), np.sum(trained > 0.66)
    return Panel(
        name="heads",
        heading="Every attention head has a temperature",
        look=f"A head reads the eight rows of an image by Gibbs weights at the temperature ε = √{head}. As trained, "
        f"of {trained.size} heads {low} stay below a third of log 8 = {largest:.2f} nats of entropy (they pick rows) "
        f"and {high} above two thirds (they average). Raise ε: at {_FACTORS[-1]:.0f} times the trained one all "
        f"come to {100 * entropies[-1].mean() / largest:.0f} % of log 8, and {100 * accuracy[-1]:.0f} % of the images "
        f"are told right, where {100 * accuracy[start]:.0f} % were.",
        alternative="Entropies of four heads in each of three layers; below, all of them over the temperature.",
        sliders=(Slider(f"temperature ε of all heads, in units of √{head}", _FACTORS.tolist(), start),),
        traces=[*thirds, *heads, *curves, marker],
        layout=stacked(rows, 760),
        moving=[
            *(Moving(len(thirds) + h, "y", (0,), entropies[:, :, h]) for h in range(_HEADS)),
            Moving(len(thirds) + len(heads) + len(curves), "x", (0,), twice(_FACTORS)),
        ],
        readings=np.array(
            [
                f"ε = {factor:.3g} √{head}: entropies from {entropies[i].min():.2f} to {entropies[i].max():.2f} nats, "
                f"{entropies[i].mean():.2f} in the mean; {100 * accuracy[i]:.1f} % of {_IMAGES} images right."
                for i, factor in enumerate(_FACTORS)
            ]
        ),
    )
