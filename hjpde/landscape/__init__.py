"""A random network as an energy of its input: replica theory on the sphere.

Theory is computed in float64 on the host, whatever jax's precision: quadratures and roots of a few numbers, for which
compilation would take longer than the computation.
"""

from ._activation import ACTIVATIONS as ACTIVATIONS
from ._activation import Activation as Activation
from ._activation import as_activation as as_activation
from ._activation import piecewise_linear as piecewise_linear
from ._activation import shaped_relu as shaped_relu
from ._proportional_widths import RESULTS as RESULTS
from ._proportional_widths import ReplicaSymmetric as ReplicaSymmetric
from ._proportional_widths import replica_symmetric as replica_symmetric
from ._random_network import RandomNetwork as RandomNetwork
