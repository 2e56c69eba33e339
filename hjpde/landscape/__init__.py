"""A random network as an energy of its input: replica theory on the sphere.

Theory is computed in float64 on the host, whatever jax's precision: quadratures and roots of a few numbers, for which
compilation would take longer than the computation.
"""

from ._activation import ACTIVATIONS as ACTIVATIONS
from ._activation import Activation as Activation
from ._activation import as_activation as as_activation
from ._activation import piecewise_linear as piecewise_linear
from ._activation import shaped_relu as shaped_relu
from ._covariance_maps import CovarianceMap as CovarianceMap
from ._covariance_maps import compose as compose
from ._covariance_maps import hermite_coefficients as hermite_coefficients
from ._covariance_maps import layer_covariance as layer_covariance
from ._covariance_maps import mixture as mixture
from ._covariance_maps import network_covariance as network_covariance
from ._covariance_maps import plot_covariance as plot_covariance
from ._covariance_maps import pure as pure
from ._covariance_maps import scaled as scaled
from ._full_breaking import FullGroundState as FullGroundState
from ._full_breaking import full_breaking as full_breaking
from ._full_breaking import full_breaking_ground_state as full_breaking_ground_state
from ._gaussian_field import FieldPhase as FieldPhase
from ._gaussian_field import GroundState as GroundState
from ._gaussian_field import field_breaking as field_breaking
from ._gaussian_field import field_phase as field_phase
from ._gaussian_field import field_replica_symmetric as field_replica_symmetric
from ._gaussian_field import free_energy_functional as free_energy_functional
from ._gaussian_field import ground_state as ground_state
from ._gaussian_field import plot_field_phase as plot_field_phase
from ._proportional_widths import RESULTS as RESULTS
from ._proportional_widths import ReplicaSymmetric as ReplicaSymmetric
from ._proportional_widths import replica_symmetric as replica_symmetric
from ._random_network import RandomNetwork as RandomNetwork
from ._shaped_flow import shaped_relu_covariance as shaped_relu_covariance
from ._stability import CriticalPoint as CriticalPoint
from ._stability import Thresholds as Thresholds
from ._stability import almeida_thouless as almeida_thouless
from ._stability import classify as classify
from ._stability import complexity_thresholds as complexity_thresholds
from ._stability import field_replicon as field_replicon
from ._stability import optimality_gap as optimality_gap
from ._stability import zero_temperature_ratio as zero_temperature_ratio
