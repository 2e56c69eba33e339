"""The claims by name."""

import difflib
from collections.abc import Sequence

from ._claim import Claim
from ._landscape_samples import LANDSCAPE_SAMPLES
from ._landscape_theory import LANDSCAPE_THEORY
from ._theory_activations import ACTIVATIONS
from ._theory_attribution import ATTRIBUTION
from ._theory_folds import FOLDS
from ._theory_identity import IDENTITY
from ._theory_initial_data import INITIAL_DATA
from ._theory_networks import NETWORKS
from ._theory_phases import PHASES
from ._theory_rates import RATES
from ._theory_robustness import ROBUSTNESS
from ._theory_trained_curvature import TRAINED_CURVATURE
from ._theory_trained_rates import TRAINED_RATES
from ._theory_tropical import TROPICAL
from ._training_bulk_boundary import BULK_AND_BOUNDARY
from ._training_dirac import DIRAC
from ._training_duality import DUALITY
from ._training_mechanics import MECHANICS
from ._training_synaptic import SYNAPTIC_FIELDS

_SUBJECTS = (
    IDENTITY,
    INITIAL_DATA,
    NETWORKS,
    PHASES,
    ACTIVATIONS,
    ATTRIBUTION,
    FOLDS,
    RATES,
    TRAINED_RATES,
    TROPICAL,
    ROBUSTNESS,
    TRAINED_CURVATURE,
    MECHANICS,
    BULK_AND_BOUNDARY,
    SYNAPTIC_FIELDS,
    DUALITY,
    DIRAC,
    LANDSCAPE_THEORY,
    LANDSCAPE_SAMPLES,
)

CLAIMS: dict[str, Claim] = {claim.name: claim for subject in _SUBJECTS for claim in subject}
"""Every claim, by its name and in the order in which reports list them."""


def find_claims(names: Sequence[str]) -> list[Claim]:
    """The claims of some names, each of which is a claim's or a part's; all of them for no name.

    **Raises:** `ValueError` with the names that come close, for one that is neither.
    """
    parts = list(dict.fromkeys(claim.part for claim in CLAIMS.values()))
    for name in names:
        if name not in CLAIMS and name not in parts:
            close = difflib.get_close_matches(name.lower(), [*parts, *CLAIMS], n=3, cutoff=0.4) or parts
            raise ValueError(f"there is no claim {name!r}; did you mean {', '.join(close)}?")
    return [claim for claim in CLAIMS.values() if not names or claim.name in names or claim.part in names]
