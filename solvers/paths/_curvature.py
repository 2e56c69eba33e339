"""How a Hamiltonian depends on the co-state: linearly, convexly, concavely, or in a way that is not known."""

from hjpde.hamiltonians import (
    AbstractHamiltonian,
    AbstractMomentumHamiltonian,
    ControlAffine,
    LinearQuadratic,
    TimeReversed,
    Transport,
)
from hjpde.hamiltonians._abstract import Curvature

_OPPOSITE: dict[Curvature, Curvature] = {
    "linear": "linear",
    "convex": "concave",
    "concave": "convex",
    "unknown": "unknown",
}


def curvature_of(hamiltonian: AbstractHamiltonian) -> Curvature:
    r"""The curvature of $p \mapsto H(t, x, p)$, as far as the Hamiltonian tells.

    In `ControlAffine` a player that makes the value small contributes $\max_a -p \cdot Ga$, which is convex, and one
    that makes it large a concave term; two opponents give neither.
    """
    if isinstance(hamiltonian, AbstractMomentumHamiltonian):
        return hamiltonian.curvature
    if isinstance(hamiltonian, LinearQuadratic):
        return "convex"
    if isinstance(hamiltonian, Transport):
        return "linear"
    if isinstance(hamiltonian, TimeReversed):
        return _OPPOSITE[curvature_of(hamiltonian.hamiltonian)]
    if isinstance(hamiltonian, ControlAffine):
        players = ((hamiltonian.controls, hamiltonian.control), (hamiltonian.disturbances, hamiltonian.disturbance))
        aims = {aim for choices, aim in players if choices is not None}
        if not aims:
            return "linear"
        if len(aims) == 1:
            return "convex" if "min" in aims else "concave"
    return "unknown"
