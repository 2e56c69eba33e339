"""The door through which a network becomes a Hamiltonian."""

import functools
from collections.abc import Callable
from typing import Any

from ._architecture import AbstractArchitecture
from ._depth_flow import DepthFlow


@functools.singledispatch
def as_hamiltonian(architecture: Any, readout: Callable | None = None) -> DepthFlow:
    r"""The depth flow of a network with a readout: $\tilde H(s, z, p) = F(s, z) \cdot p$ and $V(T, \cdot) = g$.

    Networks of one's own join in by registration, with a function that returns a `DepthFlow`:

    ```python
    @hjpde.as_hamiltonian.register
    def _(network: MyNetwork, readout=None):
        return DepthFlow(FieldNetwork(network.velocity, depth=network.depth), readout)
    ```

    **Arguments:**

    - `architecture`: a member of `hjpde.architectures`; an `equinox.nn.GRUCell`, `LSTMCell` or `MultiheadAttention`;
      or a module that was registered.
    - `readout`: a function of the network's output with a scalar value, such as a loss or one logit; by default the
      sum of the output's entries.

    **Returns:** a `hjpde.architectures.DepthFlow`.

    **Raises:** `TypeError` for a type that is not registered; `ValueError` if `readout` is no function.
    """
    raise TypeError(
        f"no depth flow is known for {type(architecture).__name__}: register one with "
        "`@hjpde.as_hamiltonian.register` on a function `(network: YourType, readout=None)` that returns a "
        "`hjpde.architectures.DepthFlow`, for instance of a `FieldNetwork(velocity, depth)`."
    )


@as_hamiltonian.register
def _(architecture: AbstractArchitecture, readout: Callable | None = None) -> DepthFlow:
    return DepthFlow(architecture, readout)


@as_hamiltonian.register
def _(architecture: DepthFlow, readout: Callable | None = None) -> DepthFlow:
    return architecture if readout is None else DepthFlow(architecture.architecture, readout)
