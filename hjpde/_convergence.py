"""The order of convergence that differences between grids tell, where no exact solution is known."""

from collections.abc import Sequence

import scipy.optimize

_ORDERS = (0.05, 12.0)


def order_of_differences(widths: Sequence[float], coarse: float, fine: float) -> float | None:
    r"""The order `p` of errors $C h^p$ on widths $h_1 > h_2 > h_3$.

    The differences to the finest grid have the ratio $(h_1^p - h_3^p)/(h_2^p - h_3^p)$, which grows with `p`.

    **Arguments:**

    - `widths`: the three widths, coarse to fine. - `coarse`, `fine`: the differences of the first two, above 0.

    **Returns:** `p`, or `None` where none between 0.05 and 12 fits.
    """
    h1, h2 = (width / widths[2] for width in widths[:2])

    def excess(p: float) -> float:
        return (h1**p - 1) / (h2**p - 1) - coarse / fine

    low, high = _ORDERS
    if excess(low) >= 0 or excess(high) <= 0:
        return None
    return float(scipy.optimize.root_scalar(excess, bracket=(low, high)).root)
