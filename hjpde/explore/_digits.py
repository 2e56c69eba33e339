"""The images of the interactive page: one split of the handwritten digits."""

import jax.numpy as jnp
import numpy as np

from hjpde._datasets import load_digits_data
from hjpde._demo_models import Split


def digits_split() -> Split:
    """Three quarters of the digits to train and one to test, in jax's precision, as one seed of `Split`."""
    from sklearn.model_selection import train_test_split

    data = load_digits_data()
    X, y = data.X.astype(jnp.zeros(()).dtype), data.y.astype(np.int32)
    parts = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    X, X_test, y, y_test = (np.asarray(part)[None] for part in parts)
    return Split(X=X, y=y, X_test=X_test, y_test=y_test, seeds=(0,))
