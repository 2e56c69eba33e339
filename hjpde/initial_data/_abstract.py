"""What an initial datum is."""

import abc

import equinox as eqx

from hjpde._types import Point, Scalar, ScalarLike


class AbstractInitialDatum(eqx.Module):
    """An initial datum $g(x) = u(0, x)$, evaluated at one point; batch with `jax.vmap`.

    Any function of one point is an initial datum too: this class is for those that know more about
    themselves, such as their dimension or a closed form of their solution.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int | None:
        """The dimension $d$ of the points, or `None` where any dimension will do."""

    @abc.abstractmethod
    def __call__(self, x: Point) -> Scalar:
        """The value $g(x)$ at one point `x` of shape `(d,)`."""


class AbstractSoftMinimum(AbstractInitialDatum):
    r"""A datum that is a soft minimum $-\varepsilon \log \sum_j e^{-q_j(x)/\varepsilon}$ of simple functions.

    Its temperature $\varepsilon$ is most often the problem's own. A datum that was given none takes that of
    the `hjpde.InitialValueProblem` it is put into; at zero it is the minimum itself, and `hard` says so, even where
    numbers are traced.
    """

    viscosity: eqx.AbstractVar[Scalar | None]
    hard: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def at_viscosity(self, viscosity: ScalarLike) -> "AbstractSoftMinimum":
        """The same datum at the temperature `viscosity`, a scalar that is not negative."""
