"""A solution as labelled arrays, for netCDF and zarr."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float


@runtime_checkable
class Lattice(Protocol):
    """What an export asks of a grid, such as `hjpde.solvers.Grid`."""

    periodic: tuple[bool, ...]

    @property
    def axes(self) -> tuple[Float[Array, " n"], ...]:
        """The coordinates of the nodes along each axis."""
        ...

    @property
    def points(self) -> Float[Array, "*n d"]:
        """The nodes, shape `(n1, ..., nd, d)`."""
        ...


def as_dataset(
    ts: np.ndarray,
    us: np.ndarray,
    grid: Lattice,
    *,
    names: Sequence[str] | None,
    units: Mapping[str, str] | None,
    attributes: Mapping[str, Any],
) -> Any:
    """An `xarray.Dataset` with the variable `u` over `time` and the grid's axes.

    **Arguments:**

    - `ts`: the times, shape `(T,)`.
    - `us`: the values, shape `(T, n1, ..., nd)`.
    - `names`: names of the axes, `x0`, `x1`, ... by default.
    - `units`: units by the name of an axis, `"time"` or `"u"`; `"1"`, dimensionless, where none is given.
    - `attributes`: words, numbers and arrays that describe the whole; made fit for netCDF.

    **Raises:** `ValueError` for names that are not distinct or too few, and units of something else; `ImportError`
    without xarray.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError("`to_xarray` needs xarray: install the extra with `pip install 'hjpde[io]'`.") from error
    axes = [np.asarray(axis) for axis in grid.axes]
    names = [f"x{i}" for i in range(len(axes))] if names is None else list(names)
    if len(names) != len(axes) or len({*names, "time", "u"}) != len(axes) + 2:
        raise ValueError(f"`names` must be {len(axes)} distinct words other than 'time' and 'u', got {names}.")
    units = dict(units or {})
    unknown = sorted(set(units) - {*names, "time", "u"})
    if unknown:
        raise ValueError(f"`units` names {unknown}, which are none of {[*names, 'time', 'u']}.")
    coordinates: dict[str, Any] = {
        "time": ("time", ts, {"long_name": "time", "units": units.get("time", "1"), "axis": "T"})
    }
    for name, axis, wraps in zip(names, axes, grid.periodic, strict=True):
        about = {"long_name": f"position along {name}", "units": units.get(name, "1"), "periodic": int(wraps)}
        coordinates[name] = (name, axis, about)
    about = {"long_name": "solution of the Hamilton-Jacobi equation", "units": units.get("u", "1")}
    general = {"Conventions": "CF-1.8", "source": f"hjpde {_version()}"}
    return xarray.Dataset(
        {"u": (("time", *names), us, about)},
        coords=coordinates,
        attrs=general | {name: _attribute(value) for name, value in attributes.items()},
    )


def _attribute(value: Any) -> Any:
    """A word, a number or a vector of numbers; netCDF has no truth values and no attribute of two axes."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    array = array.astype(np.int32) if array.dtype == bool else array
    return array.item() if array.ndim == 0 else array.reshape(-1)


def _version() -> str:
    try:
        return importlib.metadata.version("hjpde")
    except importlib.metadata.PackageNotFoundError:
        return "from source"
