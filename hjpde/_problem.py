"""The initial-value problem: initial data, a Hamiltonian, viscosity, and where they hold."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from hjpde._constraint import Constraint
from hjpde._domain import Domain
from hjpde._types import ArrayInput, Scalar, is_concrete
from hjpde._viscosity import AbstractViscosity, MatrixViscosity, NoViscosity, ScalarViscosity, as_viscosity
from hjpde.hamiltonians import AbstractHamiltonian, LinearQuadratic, Quadratic
from hjpde.initial_data import AbstractInitialDatum, AbstractSoftMinimum


@final
class InitialValueProblem(eqx.Module):
    r"""A Hamilton-Jacobi initial-value problem, for $x \in \mathbb{R}^d$ and $t \ge 0$,

    $$u_t + H(t, x, \nabla u) = \mathrm{tr}(N(t, x) D^2 u), \qquad u(0, x) = g(x).$$

    At $N = 0$, `u` is the viscosity solution. A `domain` replaces the whole space by a box with periodic axes or
    conditions on its sides; a `constraint` keeps `u` between obstacles or monotone in time.
    """

    initial_data: Callable
    hamiltonian: AbstractHamiltonian
    viscosity: AbstractViscosity
    domain: Domain | None
    constraint: Constraint | None

    def __init__(
        self,
        initial_data: Callable,
        hamiltonian: AbstractHamiltonian,
        viscosity: ArrayInput | Callable | AbstractViscosity = 0.0,
        *,
        domain: Domain | None = None,
        constraint: Constraint | None = None,
    ):
        r"""**Arguments:**

        - `initial_data`: `g`, any function of one point of shape `(d,)` with a scalar value: a member of
          `hjpde.initial_data`, an Equinox module, a plain function. A soft minimum without a temperature of its
          own takes the problem's.
        - `hamiltonian`: `H`, a member of `hjpde.hamiltonians`.
        - `viscosity`: `N`: 0 for none, a number $\varepsilon$ for $\varepsilon I$, a matrix of shape `(d, d)`, or a
          function of `(t, x)` that returns one. Hopf-Cole under $H = p^\top A p$ asks for $N = \varepsilon A$.
        - `domain`: the box and its boundary conditions, a `hjpde.Domain`; `None` for the whole space, which a grid
          solver extrapolates beyond its grid. One without periodic axes whose sides extrapolate is a window on it.
        - `constraint`: obstacles and monotonicity in time, a `hjpde.Constraint`; `None` for neither.

        **Raises:** `ValueError` if an argument is of another kind or the dimensions disagree.
        """
        if not callable(initial_data):
            raise ValueError(f"`initial_data` must be a function of one point, got {type(initial_data).__name__}.")
        if not isinstance(hamiltonian, AbstractHamiltonian):
            raise ValueError(
                f"`hamiltonian` must be a member of `hjpde.hamiltonians`, got {type(hamiltonian).__name__}; "
                "wrap a function of the co-state in `MomentumFunction`."
            )
        if not isinstance(domain, Domain | None):
            raise ValueError(f"`domain` must be a `hjpde.Domain` or None, got {type(domain).__name__}.")
        if not isinstance(constraint, Constraint | None):
            raise ValueError(f"`constraint` must be a `hjpde.Constraint` or None, got {type(constraint).__name__}.")
        self.hamiltonian, self.viscosity = hamiltonian, as_viscosity(viscosity)
        self.domain, self.constraint = domain, constraint
        dims = {
            "initial_data": initial_data.dim if isinstance(initial_data, AbstractInitialDatum) else None,
            "hamiltonian": hamiltonian.dim,
            "viscosity": self.viscosity.dim,
            "domain": None if domain is None else domain.dim,
        }
        known = {name: dim for name, dim in dims.items() if dim is not None}
        if len(set(known.values())) > 1:
            raise ValueError(
                "the dimensions disagree: " + ", ".join(f"`{name}` has d = {dim}" for name, dim in known.items())
            )
        if isinstance(initial_data, AbstractSoftMinimum) and initial_data.viscosity is None:
            inviscid = isinstance(self.viscosity, NoViscosity)
            initial_data = initial_data.at_viscosity(0.0 if inviscid else self.temperature())
        self.initial_data = initial_data

    @property
    def dim(self) -> int | None:
        """The dimension `d` as far as the parts know it, else `None`."""
        datum = self.initial_data
        known = [datum.dim if isinstance(datum, AbstractInitialDatum) else None]
        known += [self.hamiltonian.dim, self.viscosity.dim, None if self.domain is None else self.domain.dim]
        return next((dim for dim in known if dim is not None), None)

    def temperature(self) -> Scalar:
        r"""The Hopf-Cole temperature $\varepsilon$ of $N = \varepsilon A$, with $A = I$ where `H` has none.

        **Raises:** `ValueError` if `N` is no such multiple, or depends on time or place. What is only known at run
        time is checked then.
        """
        if isinstance(self.viscosity, NoViscosity):
            return jnp.zeros(())
        if isinstance(self.viscosity, ScalarViscosity):
            N = self.viscosity.epsilon
        elif isinstance(self.viscosity, MatrixViscosity):
            N = self.viscosity.constant
        else:
            raise ValueError("`viscosity` depends on time and place: there is no Hopf-Cole temperature.")
        A = self.hamiltonian.A if isinstance(self.hamiltonian, Quadratic | LinearQuadratic) else None
        if A is None and N.ndim == 0:
            return N
        d = (A if A is not None else N).shape[0]
        N = N * jnp.eye(d, dtype=N.dtype) if N.ndim == 0 else N
        A = jnp.eye(d, dtype=N.dtype) if A is None else A.astype(N.dtype)
        epsilon = jnp.trace(N) / jnp.trace(A)
        mismatch = jnp.max(jnp.abs(N - epsilon * A)) / jnp.max(jnp.abs(N))
        tolerance = 1e3 * float(jnp.finfo(N.dtype).eps)
        message = (
            "`viscosity` must be eps * A for the Hamiltonian's A (eps * I where A is the identity): the Hopf-Cole "
            "transform holds for no other. Pass the matrix `viscosity=eps * A`."
        )
        if is_concrete(mismatch):
            if not float(np.asarray(mismatch)) <= tolerance:
                raise ValueError(f"{message} Got a relative mismatch of {float(mismatch):.2g}.")
            return epsilon
        return eqx.error_if(epsilon, ~(mismatch <= tolerance), message)
