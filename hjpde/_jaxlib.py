"""A warning where the installed jaxlib is known to compute wrongly on CPU."""

import warnings

from jaxlib.version import __version__ as _installed

_FAULTS = {
    "0.10.2": "computes wrong numbers on CPU: the squared norm of a matrix-vector product, on a batch of "
    "some thousand points, is off by tens of percent",
    "0.11.0": "can crash or hang on CPU",
}


def warn_if_faulty(version: str = _installed) -> None:
    """Warns if this version of jaxlib is one that must not be used on CPU.

    The version alone decides: to ask jax for its device would start the device.
    """
    if version in _FAULTS:
        warnings.warn(
            f"jaxlib {version} {_FAULTS[version]}. Install another version: "
            "`pip install 'jax>=0.10.1,!=0.10.2,!=0.11.0' 'jaxlib>=0.10.1,!=0.10.2,!=0.11.0'`.",
            RuntimeWarning,
            stacklevel=3,
        )
