"""What data and Hamiltonians know of their subdifferentials."""

from collections.abc import Callable
from typing import Literal, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._types import Point, Scalar, is_concrete
from hjpde.hamiltonians import AbstractMomentumHamiltonian, Eikonal, Power, Quadratic, SumOfHamiltonians
from hjpde.initial_data import LogSumExp, Norm, QuadraticForm, SumOfData

from ._subdifferential import AbstractGraph, NormGraph, RadialGraph, SeparableGraph, SmoothGraph

Kind = Literal["smooth", "norm", "plain"]


@final
class DatumParts(eqx.Module):
    """A datum as a smooth function and a norm, as a smooth convex function, or as a plain one."""

    function: Callable[[Point], Scalar]
    smooth: Callable[[Point], Scalar] | None
    scale: Scalar | None
    largest: Scalar | None
    convex: Bool[Array, ""]
    order: str = eqx.field(static=True)
    kind: Kind = eqx.field(static=True)

    def graph(self, step: Scalar) -> AbstractGraph:
        r"""The graph of its subdifferential; `step` is shortened to what the smooth part's stiffness allows."""
        if self.kind == "smooth":
            return SmoothGraph(self.function, step.dtype)
        if self.kind == "plain":
            return SeparableGraph(function=self.function, step=step)
        assert self.smooth is not None
        assert self.scale is not None
        return NormGraph(smooth=self.smooth, scale=self.scale, order=self.order, step=self.shortened(step))

    def shortened(self, step: Scalar) -> Scalar:
        return step if self.largest is None else jnp.minimum(step, 1 / jnp.maximum(self.largest, 1e-30))


def is_known_convex(datum: Callable) -> bool:
    """Whether the datum is of a class that is convex; a quadratic form is unless its matrix is known to be not."""
    if isinstance(datum, LogSumExp):
        return True
    parts = _quadratics_and_norms(datum)
    if parts is None:
        return False
    matrices = [form.matrix for form in parts[0]]
    if not matrices or not is_concrete(matrices):
        return True
    stiffness = np.linalg.eigvalsh(sum(np.asarray(matrix, float) for matrix in matrices))
    return bool(stiffness[0] >= -_roundoff(matrices[0].dtype) * np.abs(stiffness).max())


def _roundoff(dtype: jnp.dtype) -> float:
    return 1e3 * float(jnp.finfo(dtype).eps)


def datum_parts(datum: Callable, function: Callable[[Point], Scalar], dtype: jnp.dtype) -> DatumParts:
    """`function` is the datum as a function of one point with all its numbers in sight."""
    yes = jnp.asarray(True)
    if isinstance(datum, LogSumExp):
        return DatumParts(function, None, None, None, yes, "", "smooth")
    parts = _quadratics_and_norms(datum) if is_known_convex(datum) else None
    if parts is None:
        return plain_datum(function)
    forms, norms = parts
    if forms:
        stiffness = jnp.linalg.eigvalsh(sum(form.matrix.astype(dtype) for form in forms))
        largest = jnp.max(stiffness)
        convex = stiffness[0] >= -_roundoff(dtype) * largest
    else:
        largest, convex = jnp.zeros((), dtype), yes
    if not norms:
        return DatumParts(function, None, None, None, convex, "", "smooth")

    def smooth(y: Point) -> Scalar:
        return sum((form(y) for form in forms), start=jnp.zeros((), y.dtype))

    scale = sum((norm.scale.astype(dtype) for norm in norms), start=jnp.zeros((), dtype))
    return DatumParts(function, smooth, scale, largest, convex, norms[0].order, "norm")


def plain_datum(function: Callable[[Point], Scalar]) -> DatumParts:
    """A datum of which nothing is known."""
    return DatumParts(function, None, None, None, jnp.asarray(False), "", "plain")


def _quadratics_and_norms(datum: Callable) -> tuple[list[QuadraticForm], list[Norm]] | None:
    parts = datum.parts if isinstance(datum, SumOfData) else (datum,)
    forms = [part for part in parts if isinstance(part, QuadraticForm)]
    norms = [part for part in parts if isinstance(part, Norm)]
    if len(forms) + len(norms) != len(parts) or len({norm.order for norm in norms}) > 1:
        return None
    return forms, norms


@final
class RadialParts(eqx.Module):
    """A Hamiltonian as a quadratic form and functions of the co-state's length."""

    eigenvalues: Float[Array, " d"]
    eigenvectors: Float[Array, "d d"] | None
    speed: Scalar
    exponents: tuple[Scalar, ...]

    def graph(self, step: Scalar) -> AbstractGraph:
        return RadialGraph(
            eigenvalues=self.eigenvalues,
            eigenvectors=self.eigenvectors,
            speed=self.speed,
            exponents=self.exponents,
            step=step,
        )


@final
class PlainParts(eqx.Module):
    """A Hamiltonian of which nothing is known but its derivative; a function of one number is separable."""

    function: Callable[[Point], Scalar]
    separable: bool = eqx.field(static=True)

    def graph(self, step: Scalar) -> AbstractGraph:
        if self.separable:
            return SeparableGraph(function=self.function, step=step)
        return SmoothGraph(self.function, step.dtype)


def momentum_parts(
    H: AbstractMomentumHamiltonian, function: Callable[[Point], Scalar], dim: int, dtype: jnp.dtype
) -> RadialParts | PlainParts:
    """`function` is the Hamiltonian as a function of the co-state with all its numbers in sight."""
    parts = H.parts if isinstance(H, SumOfHamiltonians) else (H,)
    known = all(isinstance(part, Quadratic | Eikonal | Power) for part in parts)
    if not known or all(isinstance(part, Quadratic) for part in parts):
        return PlainParts(function, dim == 1 and H.curvature == "convex")
    identities = sum(isinstance(part, Quadratic) and part.A is None for part in parts)
    matrices = [part.A.astype(dtype) for part in parts if isinstance(part, Quadratic) and part.A is not None]
    eigenvalues, eigenvectors = jnp.full((dim,), identities, dtype), None
    if matrices:
        spectrum, eigenvectors = jnp.linalg.eigh(sum(matrices))
        eigenvalues = eigenvalues + spectrum
    speeds = [part.speed.astype(dtype) for part in parts if isinstance(part, Eikonal)]
    exponents = tuple(part.exponent.astype(dtype) for part in parts if isinstance(part, Power))
    return RadialParts(eigenvalues, eigenvectors, sum(speeds, start=jnp.zeros((), dtype)), exponents)
