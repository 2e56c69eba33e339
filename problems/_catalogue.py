"""The worked problems by name."""

import difflib

from ._entries_control import CONTROL
from ._entries_fronts import FRONTS
from ._entries_points import POINTS
from ._entries_transport import TRANSPORT
from ._entries_viscous import VISCOUS
from ._entry import Entry
from ._point_entry import PointEntry

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in (*FRONTS, *VISCOUS, *CONTROL, *TRANSPORT)}
"""The worked problems on a grid, by the name on the command line and in the order in which it lists them."""

POINTWISE: dict[str, PointEntry] = {entry.name: entry for entry in POINTS}
"""The worked problems in many dimensions, which are solved point by point; listed after the others."""


def find(name: str) -> Entry:
    """The entry of a name, for a problem on a grid.

    **Raises:** `ValueError` with the names that come close, if there is none of that name; or if it is one of
    `POINTWISE`.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if name in POINTWISE:
        raise ValueError(f"the problem {name!r} is solved point by point, not on a grid; see `POINTWISE`.")
    known = [*CATALOGUE, *POINTWISE]
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4) or sorted(known)
    raise ValueError(f"there is no problem {name!r}; did you mean {', '.join(close)}?")
