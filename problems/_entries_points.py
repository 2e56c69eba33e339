"""The catalogue's problems in many dimensions, solved point by point."""

import numpy as np

from ._gaussian_transport import GaussianTransport
from ._minimum_of_paraboloids import MinimumOfParaboloids
from ._point_entry import PointEntry
from ._quadratic_plus_norm import QuadraticPlusNorm


def _gaussians_10d() -> GaussianTransport:
    """Random means, and covariances with eigenvalues of order one."""
    random = np.random.default_rng(2)
    means, roots = random.normal(size=(2, 10)) / 2, random.normal(size=(2, 10, 10))
    covariances = roots @ np.swapaxes(roots, 1, 2) / 10 + 0.3 * np.eye(10)
    return GaussianTransport(means[0], covariances[0], means[1], covariances[1])


POINTS = (
    PointEntry(
        name="paraboloids-10d",
        title="The minimum of five paraboloids in ten dimensions",
        equation="u_t + p.Ap = 0 on R^10 with a dense A",
        source="McEneaney, SIAM J. Control Optim. 46, 2007; the datum is the package's own",
        reference="exact",
        make=MinimumOfParaboloids,
        dim=10,
        time=0.5,
        reach=2.0,
        expected="rounding: minima of paraboloids have a closed form",
    ),
    PointEntry(
        name="gaussian-transport-10d",
        title="The potential that moves one Gaussian to another in ten dimensions",
        equation="u_t + |grad u|^2/2 = 0 on R^10",
        source="Benamou and Brenier, Numer. Math. 84, 2000",
        reference="exact",
        make=_gaussians_10d,
        dim=10,
        time=1.0,
        reach=2.0,
        expected="rounding: a quadratic form has a closed form",
    ),
    PointEntry(
        name="quadratic-plus-norm-50d",
        title="A quadratic form and a norm in fifty dimensions, neither of them smooth",
        equation="u_t + p.Ap + |p| = 0 on R^50 with a dense A",
        source="Darbon and Osher, Res. Math. Sci. 3:19, 2016; the numbers are the package's own",
        reference="computed",
        make=QuadraticPlusNorm,
        dim=50,
        time=0.7,
        reach=1.0,
        expected="rounding: a convex problem, solved at each point by Newton's method",
    ),
)
