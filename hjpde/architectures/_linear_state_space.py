"""A linear state-space model on sequences, with a choice of the discretisation."""

import math
from typing import Literal, TypeAlias, final, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from hjpde._types import ArrayInput, ScalarLike, require_finite

from ._abstract import along_last, require_choice
from ._architecture import AbstractArchitecture
from ._linear_recurrence import as_complex, as_pair, convolution, fastest_method, phi1, recurrence
from ._recurrent import sequence

Rule = Literal["zoh", "bilinear", "euler"]
Method = Literal["scan", "associative", "convolution"]
_SCHEMES = {
    "zoh": "zero-order hold (exponential Euler), exact",
    "bilinear": "bilinear rule (implicit midpoint)",
    "euler": "explicit Euler",
}
_ORDERS = {"zoh": math.inf, "bilinear": 2.0, "euler": 1.0}
_Pair: TypeAlias = tuple[Float[Array, "2 n"], Float[Array, " p"]]


@final
class LinearStateSpace(AbstractArchitecture):
    r"""A diagonal linear state-space model $\dot s = A s + B w$, $y = \mathrm{Re}(C s) + D w$, held for a step
    $\Delta$ at each element $w_k$ of a sequence:

    $$s_{k+1} = \bar A s_k + \bar B w_k, \qquad y_k = \mathrm{Re}(C s_{k+1}) + D w_k, \qquad s_0 = 0.$$

    | rule | $\bar A$ | $\bar B$ | order |
    |---|---|---|---|
    | `"zoh"` | $e^{\Delta A}$ | $\Delta\,\varphi_1(\Delta A) B$ | exact |
    | `"bilinear"` | $(1 - \tfrac\Delta2 A)^{-1} (1 + \tfrac\Delta2 A)$ | $\Delta (1 - \tfrac\Delta2 A)^{-1} B$ | 2 |
    | `"euler"` | $1 + \Delta A$ | $\Delta B$ | 1 |

    The orders are those for the held input. Against a smooth input `w(s)` the samples count as much as the rule: with
    those at the left ends all are of order 1, with those at the middles the first two are of order 2.

    The output is $y$ of the last element; `outputs` has all. The state is the pair of $s$, as a real array with a
    leading axis for the real and the imaginary part, and of $y$, which is held algebraically. All parameters are real.

    ??? cite "References"

        A. Gu, K. Goel and C. Ré, *Efficiently Modeling Long Sequences with Structured State Spaces*, ICLR 2022.
        A. Gu, A. Gupta, K. Goel and C. Ré, *On the Parameterization and Initialization of Diagonal State Space
        Models*, NeurIPS 2022.
    """

    generator: Float[Array, "2 n"]
    input_weights: Float[Array, "2 n m"]
    output_weights: Float[Array, "2 p n"]
    direct: Float[Array, "p m"]
    time_step: float = eqx.field(static=True)
    rule: Rule = eqx.field(static=True)
    method: Method | None = eqx.field(static=True)

    def __init__(
        self,
        A: ArrayInput,
        B: ArrayInput,
        C: ArrayInput,
        D: ArrayInput | None = None,
        step: float = 1.0,
        *,
        rule: str = "zoh",
        method: str | None = None,
    ):
        r"""**Arguments:**

        - `A`: the diagonal of $A$, shape `(n,)`, real or complex.
        - `B`: shape `(n, m)`, or `(n,)` for one input.
        - `C`: shape `(p, n)`, or `(n,)` for one output.
        - `D`: real, shape `(p, m)`, or a number for one input and one output; by default 0.
        - `step`: $\Delta > 0$, the time that an element covers.
        - `rule`: `"zoh"`, `"bilinear"` or `"euler"`.
        - `method`: how a sequence is computed: `"scan"`, one element after the other; `"associative"`, a tree of
            compositions; `"convolution"`, with the impulse response by the fast Fourier transform, in memory that
            grows as `L p m`. By default on a CPU `"convolution"` for few channels, `p m <= 2 n`, and else `"scan"`
            (where they cross in `benchmarks/architectures.py`); `"associative"` elsewhere.

        **Raises:** `ValueError` if shapes disagree, `step` is not positive, `D` is not real, or a name is not known.
        """
        require_choice("rule", rule, get_args(Rule))
        if method is not None:
            require_choice("method", method, get_args(Method))
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"`step` must be positive and finite, got {step!r}.")
        a, b, c = (_inexact(value, name) for value, name in ((A, "A"), (B, "B"), (C, "C")))
        shapes = f"{a.shape}, {b.shape} and {c.shape}"
        b = b[:, None] if b.ndim == 1 else b
        c = c[None, :] if c.ndim == 1 else c
        if a.ndim != 1 or b.ndim != 2 or c.ndim != 2 or not a.size == b.shape[0] == c.shape[1]:
            raise ValueError(f"`A` must have shape (n,), `B` (n, m) or (n,), and `C` (p, n) or (n,), got {shapes}.")
        d = jnp.zeros((c.shape[0], b.shape[1]), c.real.dtype) if D is None else _inexact(D, "D")
        d = d[None, None] if d.ndim == 0 else d
        if jnp.iscomplexobj(d) or d.shape != (c.shape[0], b.shape[1]):
            raise ValueError(f"`D` must be real with shape {(c.shape[0], b.shape[1])}, got {d.dtype} with {d.shape}.")
        dtype = jnp.result_type(*(part.real for part in (a, b, c, d)))
        pairs = (as_pair(part + 0j).astype(dtype) for part in (a, b, c))
        self.generator, self.input_weights, self.output_weights = pairs
        self.direct = d.astype(dtype)
        self.time_step = float(step)
        self.rule = rule  # pyright: ignore[reportAttributeAccessIssue]
        self.method = method  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def layer_count(self) -> None:
        return None

    @property
    def layer_time(self) -> float:
        return self.time_step

    @property
    def input_ndim(self) -> int:
        return 2

    @property
    def scheme(self) -> str:
        return _SCHEMES[self.rule]

    @property
    def expected_order(self) -> float:
        return _ORDERS[self.rule]

    def __call__(self, x: Float[Array, "L m"]) -> Float[Array, " p"]:
        """The output at the last element of a sequence."""
        return self.outputs(x)[-1]

    def outputs(self, x: Float[Array, "L m"]) -> Float[Array, "L p"]:
        """The outputs at all elements."""
        through = sequence(x, self.direct.shape[1]) @ self.direct.T
        method = self._fastest() if self.method is None else self.method
        if method == "convolution":
            return convolution(self.impulse_response(x.shape[0]), x) + through
        transition, held = self.discretised(self.time_step)
        drive = as_complex(jnp.moveaxis(self.layers(x)[0], 1, 0))
        states = recurrence(transition, along_last(held, drive) * drive, method)
        return self._real_output(states) + through

    def _fastest(self) -> Method:
        few = self.direct.size <= 2 * self.generator.shape[-1]
        return "convolution" if few and fastest_method() == "scan" else fastest_method()

    def impulse_response(self, length: int) -> Float[Array, "L p m"]:
        r"""$\mathrm{Re}(C \bar A^k \bar B)$ for $k = 0, \ldots, L - 1$, without the direct part."""
        transition, held = self.discretised(self.time_step)
        factors = jnp.concatenate([held[None], jnp.broadcast_to(transition, (length - 1, transition.size))])
        powers = jnp.cumprod(factors, axis=0)
        return jnp.einsum("pn,kn,nm->kpm", as_complex(self.output_weights), powers, as_complex(self.input_weights)).real

    def discretised(self, h: ScalarLike) -> tuple[Complex[Array, " n"], Complex[Array, " n"]]:
        r"""The diagonal of $\bar A$, and the factors of the rows of $B$ in $\bar B$, for the step `h`."""
        a = as_complex(self.generator)
        h = jnp.asarray(h, self.generator.dtype)
        if self.rule == "zoh":
            return jnp.exp(h * a), h * phi1(h * a)
        if self.rule == "bilinear":
            return (1 + h / 2 * a) / (1 - h / 2 * a), h / (1 - h / 2 * a)
        return 1 + h * a, jnp.full_like(a, h)

    def start(self, x: Float[Array, "L m"]) -> _Pair:
        dtype = jnp.result_type(x, self.generator)
        return jnp.zeros(self.generator.shape, dtype), jnp.zeros(self.direct.shape[0], dtype)

    def layers(self, x: Float[Array, "L m"] | None) -> tuple[Float[Array, "L 2 n"], Float[Array, "L p"]]:
        """What drives the states, $B w_k$, and the direct part of the output."""
        x = sequence(x, self.direct.shape[1])
        real, imaginary = self.input_weights
        return jnp.stack([x @ real.T, x @ imaginary.T], axis=1), x @ self.direct.T

    def velocity(self, s: ScalarLike, z: _Pair, layer: tuple[Float[Array, "2 n"], Float[Array, " p"]]) -> _Pair:
        del s
        rate = as_complex(self.generator) * as_complex(z[0]) + as_complex(layer[0])
        return as_pair(rate), self._real_output(rate)

    def step(
        self, s: ScalarLike, z: _Pair, h: ScalarLike, layer: tuple[Float[Array, "2 n"], Float[Array, " p"]]
    ) -> _Pair:
        del s
        transition, held = self.discretised(h)
        state = transition * as_complex(z[0]) + held * as_complex(layer[0])
        return as_pair(state), self._real_output(state) + layer[1]

    def settle(self, z: _Pair, layer: tuple[Float[Array, "2 n"], Float[Array, " p"]]) -> _Pair:
        return z[0], self._real_output(as_complex(z[0])) + layer[1]

    def finish(self, z: _Pair) -> Float[Array, " p"]:
        return z[1]

    def _real_output(self, state: Complex[Array, "*rows n"]) -> Float[Array, "*rows p"]:
        real, imaginary = self.output_weights
        return state.real @ real.T - state.imag @ imaginary.T


def _inexact(value: ArrayInput, name: str) -> Array:
    """`value` as a real or complex array.

    **Raises:** `ValueError` that names the argument if it is none, or not finite.
    """
    try:
        array = jnp.asarray(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be an array of numbers, got {type(value).__name__}.") from error
    array = array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(jnp.result_type(float))
    require_finite(array, name)
    return array
