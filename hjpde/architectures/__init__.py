"""Networks that are discretised Hamilton-Jacobi equations, each one example at a time; batch with `jax.vmap`."""

from ._abstract import parameter_count as parameter_count
from ._architecture import AbstractArchitecture as AbstractArchitecture
from ._as_hamiltonian import as_hamiltonian as as_hamiltonian
from ._costate import CostatePath as CostatePath
from ._costate import continuous_costate as continuous_costate
from ._costate import discrete_costate as discrete_costate
from ._costate import right_endpoint_costate as right_endpoint_costate
from ._depth_flow import DepthFlow as DepthFlow
from ._field_network import FieldNetwork as FieldNetwork
from ._gru import GRU as GRU
from ._lstm import LSTM as LSTM
from ._modified_equation import drift_correction as drift_correction
from ._modified_equation import euler_hamiltonian as euler_hamiltonian
from ._modified_equation import hamiltonian_along as hamiltonian_along
from ._modified_equation import modified_velocity as modified_velocity
from ._noise import AbstractNoise as AbstractNoise
from ._noise import Dropout as Dropout
from ._noise import GaussianNoise as GaussianNoise
from ._noise import NoisyNetwork as NoisyNetwork
from ._noise import StochasticDepth as StochasticDepth
from ._residual import ResidualNetwork as ResidualNetwork
from ._rnn import RNN as RNN
from ._state_space import DiagonalStateSpace as DiagonalStateSpace
from ._symplectic import pairing_along as pairing_along
from ._symplectic import symplectic_defect as symplectic_defect
from ._transformer import Transformer as Transformer
