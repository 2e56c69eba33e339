"""Training itself as mechanics: with friction, layer by layer, as a field over the weights, and with its dual."""

from ._conformal_symplectic import ConformalSymplecticState as ConformalSymplecticState
from ._conformal_symplectic import Trajectory as Trajectory
from ._conformal_symplectic import conformal_symplectic as conformal_symplectic
from ._conformal_symplectic import conformal_symplectic_step as conformal_symplectic_step
from ._conformal_symplectic import from_heavy_ball as from_heavy_ball
from ._conformal_symplectic import heavy_ball as heavy_ball
from ._conformal_symplectic import simulate as simulate
from ._damped_dynamics import DampedDynamics as DampedDynamics
from ._damped_dynamics import DampedHamiltonian as DampedHamiltonian
from ._energy_balance import EnergyBalance as EnergyBalance
from ._energy_balance import action as action
from ._energy_balance import energy_balance as energy_balance
from ._energy_balance import plot_energy_balance as plot_energy_balance
