"""Networks for vectors and sequences, each one example at a time; batch with `jax.vmap`."""

from ._abstract import parameter_count as parameter_count
from ._gru import GRU as GRU
from ._residual import ResidualNetwork as ResidualNetwork
from ._state_space import DiagonalStateSpace as DiagonalStateSpace
from ._transformer import Transformer as Transformer
