"""A layer whose neurons belong to classes: what certificates and attacks are about."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._fitted import Fitted
from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, positive_scalar, require_finite
from hjpde.initial_data import LogSumExp


@final
class GibbsClassifier(eqx.Module):
    r"""A classifier whose class scores are log-sum-exps over the neurons of each class,

    $$s_c(x) = \varepsilon \log \sum_{j \in c} e^{(W_j \cdot x + b_j)/\varepsilon}.$$

    The probability of a class, $e^{s_c/\varepsilon} / \sum_k e^{s_k/\varepsilon}$, is the Gibbs mass of its neurons.
    Every $s_c$ is convex. Classes are padded to a common size `K` with neurons of bias `-inf`. A common affine
    function of all scores is a gauge: it moves no decision.
    """

    weights: Float[Array, "C K d"]
    biases: Float[Array, "C K"]
    viscosity: Scalar

    def __init__(self, layer: LogSumExp, classes: ArrayInput):
        """**Arguments:**

        - `layer`: all neurons, in any order.
        - `classes`: the class of each neuron as an integer from 0 to `C - 1`, shape `(N,)`.

        **Raises:** `ValueError` if the shape is another one, there are fewer than two classes, or a class owns no
        neuron that is not masked.
        """
        owners = np.asarray(classes)
        if owners.shape != layer.biases.shape or owners.dtype.kind not in "iu":
            raise ValueError(
                f"`classes` must be integers of shape {layer.biases.shape}, one a neuron, got {owners.dtype} of shape "
                f"{owners.shape}."
            )
        active = np.isfinite(np.asarray(layer.biases))
        counts = np.bincount(owners[active], minlength=int(owners.max()) + 1) if owners.min() >= 0 else np.zeros(1)
        if len(counts) < 2 or counts.min() < 1:
            raise ValueError(f"`classes` must give each of at least two classes a neuron, got {counts.tolist()}.")
        size = int(counts.max())
        place = np.zeros((len(counts), size), int)
        mask = np.arange(size)[None] < counts[:, None]
        for c in range(len(counts)):
            place[c, : counts[c]] = np.flatnonzero(active & (owners == c))
        self.weights = jnp.where(mask[..., None], layer.weights[place], 0.0)
        self.biases = jnp.where(mask, layer.biases[place], -jnp.inf)
        self.viscosity = layer.viscosity

    @classmethod
    def of(cls, fitted: Fitted) -> "GibbsClassifier":
        r"""The classifier of a fitted `hjpde.Classification`, in the gauge $A = I$, $t = 1/4$ if `A` is a multiple
        of the identity (`metric="common"`): then $s_c$ is $-|x - y_j|^2 - h_j$, softly maximised, up to $|x|^2$, and
        the temperature has the unit of a squared distance.

        **Raises:** `ValueError` if it is no classification.
        """
        if fitted.kind != "classification":
            raise ValueError(f"`fitted` must be a classification, got a fit of kind {fitted.kind}.")
        classifier = cls(fitted.layer, fitted.atom_classes)
        A = np.asarray(fitted.coordinates.A)
        common = np.allclose(A, A[0, 0] * np.eye(len(A)), rtol=1e-6, atol=0)
        return classifier.scaled(4 * fitted.time * A[0, 0]) if common else classifier

    @property
    def n_classes(self) -> int:
        return self.weights.shape[0]

    @property
    def dim(self) -> int:
        return self.weights.shape[2]

    @property
    def layer(self) -> LogSumExp:
        """All neurons as one layer, class by class."""
        return LogSumExp(self.weights.reshape(-1, self.dim), self.biases.reshape(-1), self.viscosity)

    def scaled(self, factor: ScalarLike) -> "GibbsClassifier":
        """All scores and the temperature times `factor > 0`: another unit, the same decisions and probabilities."""
        factor = positive_scalar(factor, "factor", self.weights.dtype)
        parts = (self.weights * factor, self.biases * factor, self.viscosity * factor)
        return eqx.tree_at(lambda c: (c.weights, c.biases, c.viscosity), self, parts)

    def at_viscosity(self, viscosity: ScalarLike) -> "GibbsClassifier":
        """The same neurons at another temperature."""
        value = positive_scalar(viscosity, "viscosity", self.weights.dtype)
        return eqx.tree_at(lambda c: c.viscosity, self, value)

    def scores(self, X: Float[Array, "M d"]) -> Float[Array, "M C"]:
        """The scores $s_c$ at each row, shape `(M, C)`, in units of the temperature's."""
        return self.viscosity * jax.nn.logsumexp(self._logits(X), axis=2)

    def gibbs(self, X: Float[Array, "M d"]) -> Float[Array, "M C K"]:
        """The Gibbs weights of the neurons within each class; each class sums to 1."""
        return jax.nn.softmax(self._logits(X), axis=2)

    def gradients(self, X: Float[Array, "M d"]) -> Float[Array, "M C d"]:
        r"""$\nabla s_c(x) = \sum_{j \in c} \pi_j W_j$ of each class at each row."""
        return jnp.einsum("mck,ckd->mcd", self.gibbs(X), self.weights)

    def predict(self, X: ArrayInput) -> Int[Array, " M"]:
        """The class of the highest score at each row."""
        return jnp.argmax(self.scores(self.points(X)), axis=1)

    def points(self, X: ArrayInput) -> Float[Array, "M d"]:
        """`X` as points of this classifier, in the wider of the two dtypes.

        **Raises:** `ValueError` if the shape is not `(M, d)`, or a number is NaN or infinite.
        """
        array = as_float_array(X, "X")
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise ValueError(f"`X` must have shape (M, {self.dim}), got {array.shape}.")
        require_finite(array, "X")
        return array.astype(jnp.result_type(array, self.weights))

    def _logits(self, X: Float[Array, "M d"]) -> Float[Array, "M C K"]:
        scores = X @ self.weights.reshape(-1, self.dim).T + self.biases.reshape(1, -1)
        return scores.reshape(-1, *self.biases.shape) / self.viscosity
