"""What the layer identity gives: attribution, robustness, the tropical limit, rates."""

from ._dequantisation import DequantisationGap as DequantisationGap
from ._dequantisation import dequantisation_gap as dequantisation_gap
from ._dequantisation import plot_dequantisation_gap as plot_dequantisation_gap
from ._dequantisation import tie_multiplicity as tie_multiplicity
from ._dual_subdivision import DualSubdivision as DualSubdivision
from ._dual_subdivision import Facet as Facet
from ._dual_subdivision import dual_subdivision as dual_subdivision
from ._dual_subdivision import plot_dual_subdivision as plot_dual_subdivision
from ._dual_subdivision import plot_tropical_hypersurface as plot_tropical_hypersurface
from ._tropical_network import PositiveNetwork as PositiveNetwork
from ._tropical_polynomial import TropicalPolynomial as TropicalPolynomial
from ._tropical_polynomial import tropical_limit as tropical_limit
