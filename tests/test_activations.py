"""The identities of the activation table against the activations of jax and closed forms of scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from hjpde import analysis

TABLE = analysis.activation_table()
X64 = jnp.result_type(float) == jnp.float64


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_the_identity_holds_to_rounding(row):
    # The largest terms are x^2/4t and the 64 terms of the quadrature, all below 60.
    assert row.residual(np.linspace(-8, 8, 201)) <= 64 * 60 * float(jnp.finfo(jnp.result_type(float)).eps)


def test_the_table_has_the_source_rows_and_closes_the_open_two():
    assert [row.name for row in TABLE] == ["LSE", "ReLU", "softplus", "sigmoid", "tanh", "SiLU", "GELU"]
    assert [row.name for row in TABLE if row.source == "open"] == ["SiLU", "GELU"]
    assert {row.kind for row in TABLE} == {"solution", "gradient", "viscosity derivative", "heat derivative"}


@pytest.mark.parametrize("s", [0.25, 1.0, 4.0])
def test_the_heat_flow_of_relu_is_its_closed_form(s):
    x = np.linspace(-5, 5, 21)
    flow = [float(analysis.heat_flow_of_relu(jnp.asarray(v), s)) for v in x]
    root = np.sqrt(s)
    closed = x * scipy.stats.norm.cdf(x / root) + root * scipy.stats.norm.pdf(x / root)
    np.testing.assert_allclose(flow, closed, atol=1e-12 if X64 else 1e-5)


def test_softplus_is_a_layer_at_every_viscosity():
    for eps in (0.1, 2.0):
        expected = eps * np.log1p(np.exp(0.7 / eps))
        assert float(analysis.softplus_layer(jnp.asarray(0.7), eps)) == pytest.approx(expected, rel=1e-6)


def test_residuals_refuse_and_figures_draw_each_row():
    with pytest.raises(ValueError, match="`x` must have 1 axes"):
        TABLE[0].residual(1.0)
    assert len(analysis.plot_activations(TABLE).lines) == len(TABLE)
