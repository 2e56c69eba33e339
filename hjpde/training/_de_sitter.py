"""The dictionary between friction and an expanding space: de Sitter's, whose volume grows as exp(friction t)."""

from typing import TYPE_CHECKING, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._plotting import BLACK, CYCLE, MARKERS, given_or_new, tidy
from hjpde._types import Scalar, ScalarLike, positive_scalar

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class DeSitter(eqx.Module):
    r"""Space that expands as $ds^2 = -dt^2 + e^{2Ht}|dx|^2$ in `d` dimensions, whose volume factor is the weight
    $\sqrt{-g} = e^{\gamma t}$ of the action of training with friction: $H = \gamma/d = 1/(d\eta)$.

    Only the volume agrees. A covariant field also has its gradients stretched, $e^{-2Ht}|\nabla w|^2$, which those of
    a network's weights are not.

    ??? cite "References"

        D. Lee, H.-S. Lee and J. Yi, *Synaptic field theory for neural networks*, arXiv 2503.08827, 2025.
        S. Carroll, *Spacetime and Geometry*, Addison-Wesley, 2004, Sections 8.1 and 8.3.
    """

    friction: Scalar
    dim: int = eqx.field(static=True)

    def __init__(self, friction: ScalarLike, dim: int):
        r"""**Arguments:**

        - `friction`: $\gamma > 0$, per unit of time; $1/\eta$ for a learning rate $\eta$.
        - `dim`: dimensions `d` of space, at least 1.

        **Raises:** `ValueError` if either is out of range.
        """
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}.")
        self.friction = positive_scalar(friction, "friction", jnp.result_type(float))
        self.dim = dim

    @property
    def hubble(self) -> Scalar:
        r"""Hubble's parameter $H = \gamma/d$, per unit of time."""
        return self.friction / self.dim

    @property
    def ricci_scalar(self) -> Scalar:
        r"""The curvature $d(d+1)H^2$, the same everywhere."""
        return self.dim * (self.dim + 1) * self.hubble**2

    @property
    def critical_mass(self) -> Scalar:
        r"""The mass $dH/2 = \gamma/2$ above which a uniform field oscillates: curvatures of the cost above
        $\gamma^2/4$.
        """
        return self.friction / 2

    def scale_factor(self, t: ScalarLike) -> Float[Array, "..."]:
        """$e^{Ht}$, by which lengths have grown since time 0."""
        return jnp.exp(self.hubble * t)

    def volume_factor(self, t: ScalarLike) -> Float[Array, "..."]:
        r"""$\sqrt{-g} = e^{dHt} = e^{\gamma t}$, by which volumes have grown since time 0."""
        return jnp.exp(self.friction * t)

    def metric(self, t: ScalarLike) -> Float[Array, "d1 d1"]:
        r"""$g = \mathrm{diag}(-1, e^{2Ht}, \ldots, e^{2Ht})$, shape `(d+1, d+1)`, time first."""
        return jnp.diag(jnp.concatenate([-jnp.ones(1), jnp.full(self.dim, self.scale_factor(t) ** 2)]))


def plot_de_sitter(friction: float, dims: tuple[int, ...] = (1, 2, 3), ax: "Axes | None" = None) -> "Axes":
    r"""How lengths grow in some dimensions over $4/\gamma$, and the volume, which grows alike in all of them.

    **Arguments:** `friction`: $\gamma$; `dims`: each at least 1; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    tidy(ax)
    t = np.linspace(0, 4 / friction, 60)
    ax.semilogy(t, DeSitter(friction, 1).volume_factor(t), color=BLACK, linewidth=2.2, label="volume, any d")
    for k, d in enumerate(dims):
        style = {"color": CYCLE[k % len(CYCLE)], "marker": MARKERS[k % len(MARKERS)], "markevery": 10, "markersize": 5}
        ax.semilogy(t, DeSitter(friction, d).scale_factor(t), "--", label=f"length, d = {d}", **style)
    ax.set(xlabel="time t", ylabel="growth since t = 0")
    ax.legend(frameon=False)
    return ax
