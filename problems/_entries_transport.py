"""The catalogue's problems of optimal transport, on a grid."""

import functools

from ._entry import Entry
from ._gaussian_transport import GaussianTransport

_gaussians = functools.partial(
    GaussianTransport,
    start_mean=[-0.4, 0.2],
    start_covariance=[[0.6, 0.2], [0.2, 0.3]],
    end_mean=[0.5, -0.1],
    end_covariance=[[0.4, -0.1], [-0.1, 0.5]],
)

TRANSPORT = (
    Entry(
        name="gaussian-transport",
        title="The potential that moves one Gaussian to another with the least action",
        equation="u_t + |grad u|^2/2 = 0 on [-2, 2]^2",
        source="Benamou and Brenier, Numer. Math. 84, 2000",
        reference="exact",
        make=functools.partial(_gaussians, half_width=2.0),
        time=1.0,
        sizes=(32, 64, 128),
        order="1.5 to 2, by the sides; inside, orders 3 and 5 are exact on quadratics",
    ),
)
