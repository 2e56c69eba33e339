"""The solvers by the names that the command line gives them."""

import difflib
from collections.abc import Callable

from hjpde.solvers import AbstractSolver, Grid, GridHopfCole, GridHopfLax, Hopf, HopfCole, HopfLax, Spectral

CLOSED_FORMS: dict[str, type[AbstractSolver]] = {"HopfCole": HopfCole, "HopfLax": HopfLax, "Hopf": Hopf}
"""Those that need no grid."""

ON_GRIDS: dict[str, Callable[[Grid], AbstractSolver]] = {
    "Spectral": Spectral,
    "GridHopfLax": GridHopfLax,
    "GridHopfCole": GridHopfCole,
}
"""Those that need a grid and nothing else; finite differences have options too."""

SOLVER_NAMES = ("FiniteDifference", *ON_GRIDS, *CLOSED_FORMS)


def require_known(solver: str) -> None:
    """**Raises:** `ValueError` with the names that come close, if there is no solver of that name."""
    if solver in SOLVER_NAMES:
        return
    lower = {known.lower(): known for known in SOLVER_NAMES}
    close = [lower[word] for word in difflib.get_close_matches(solver.lower(), lower, n=2, cutoff=0.4)]
    guess = f"; did you mean {' or '.join(close)}?" if close else "."
    raise ValueError(f"there is no solver {solver!r}{guess} Known are {', '.join(SOLVER_NAMES)}.")
