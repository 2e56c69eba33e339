"""The entries of a `state_dict`, each asked for by its name and shape, and all of them used."""

from collections.abc import Mapping
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


@final
class TorchWeights:
    """Named arrays that are handed out once."""

    def __init__(self, weights: Mapping[str, Any]):
        """**Arguments:**

        - `weights`: tensors of torch or arrays, by name. Half precision becomes float32.

        **Raises:** `ValueError` that names an entry that is not real or not finite.
        """
        self.arrays = {str(name): as_numpy(str(name), value) for name, value in weights.items()}
        self._left = set(self.arrays)

    def take(self, name: str, *shape: int | None) -> Array:
        """One entry; `None` stands for any length.

        **Raises:** `ValueError` that names it if it is missing or of another shape.
        """
        if name not in self.arrays:
            raise ValueError(f"`{name}` is missing among the weights; there are {', '.join(sorted(self.arrays))}.")
        array = self.arrays[name]
        fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if not fits or 0 in array.shape:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"`{name}` must have shape ({wanted}), got {array.shape}.")
        self._left.discard(name)
        return jnp.asarray(array)

    def done(self) -> None:
        """**Raises:** `ValueError` that names the entries that were not taken."""
        if self._left:
            raise ValueError(
                f"{', '.join(f'`{name}`' for name in sorted(self._left))} cannot be used: unknown weights."
            )


def as_numpy(name: str, value: Any) -> np.ndarray:
    """A tensor of torch, or anything array-like, in float32 or float64.

    **Raises:** `ValueError` that names it if it is not real or not finite.
    """
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if "bfloat16" in str(value.dtype) else value
            value = value.numpy()
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"`{name}` must be an array of numbers, got {type(value).__name__}.") from error
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"`{name}` must be of a floating dtype, got {array.dtype}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return array
