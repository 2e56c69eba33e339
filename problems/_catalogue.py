"""The worked problems by name."""

import difflib

from ._entries_control import CONTROL
from ._entries_fronts import FRONTS
from ._entries_viscous import VISCOUS
from ._entry import Entry

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in (*FRONTS, *VISCOUS, *CONTROL)}
"""The worked problems by the name that the command line gives them, in the order in which it lists them."""


def find(name: str) -> Entry:
    """The entry of a name.

    **Raises:** `ValueError` with the names that come close, if there is none of that name.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    close = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4) or sorted(CATALOGUE)
    raise ValueError(f"there is no problem {name!r}; did you mean {', '.join(close)}?")
