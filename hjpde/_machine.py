"""What a report says of the machine and of the versions that its numbers were made with."""

import os
from importlib import metadata

import jax


def device() -> str:
    """What the times were measured on."""
    try:
        load = f", load {os.getloadavg()[0]:.1f}"
    except (AttributeError, OSError):
        load = ""
    return f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores{load}"


def versions() -> str:
    """Of what computes."""
    names = ("hjpde", "jax", "jaxlib", "equinox", "diffrax", "numpy")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)
