"""The catalogue's problems with viscosity."""

import functools

from ._burgers_potential import BurgersPotential
from ._cole_hopf_cosine import ColeHopfCosine
from ._entry import Entry
from ._strong_diffusion import StrongDiffusion
from ._variable_diffusion import VariableDiffusion
from ._viscous_cone import ViscousCone
from ._viscous_mixture import ViscousMixture

VISCOUS = (
    Entry(
        name="cole-hopf",
        title="A decaying cosine behind the Hopf-Cole transform",
        equation="u_t + (u_x)^2 = eps u_xx on the circle [0, 2 pi), eps = 0.1",
        source="Cole, Quart. Appl. Math. 9, 1951",
        reference="exact",
        make=ColeHopfCosine,
        time=1.0,
        sizes=(32, 64, 128),
        order="exponential for a spectral solver",
        solver="Spectral",
        plot="profiles",
        viscous=True,
    ),
    Entry(
        name="burgers-potential-viscous",
        title="Potential of the viscous Burgers equation",
        equation="u_t + (u_x)^2/2 = nu u_xx on the circle [0, 2 pi), nu = 0.1",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950",
        reference="computed",
        make=functools.partial(BurgersPotential, viscosity=0.1),
        time=1.5,
        sizes=(64, 128, 256),
        order="exponential for a spectral solver",
        solver="Spectral",
        plot="profiles",
        viscous=True,
    ),
    Entry(
        name="viscous-cone",
        title="A cone that viscosity rounds off",
        equation="u_t + (u_x)^2 = eps u_xx on [-4, 4], eps = 0.1",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950",
        reference="exact",
        make=ViscousCone,
        time=0.5,
        sizes=(64, 128, 256),
        order="2: the datum's tip is sampled",
        plot="profiles",
        viscous=True,
    ),
    Entry(
        name="gaussian-mixture",
        title="A Gaussian mixture behind the Hopf-Cole transform",
        equation="u_t + |grad u|^2 = eps Lap u on the torus [-2, 2)^2, eps = 0.5",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950",
        reference="exact",
        make=functools.partial(ViscousMixture, viscosity=0.5),
        time=0.25,
        sizes=(64, 96, 128),
        order="exponential for a spectral solver, once the datum's layers are resolved",
        solver="Spectral",
        viscous=True,
    ),
    Entry(
        name="gaussian-mixture-3d",
        title="A Gaussian mixture behind the Hopf-Cole transform in three dimensions",
        equation="u_t + |grad u|^2 = eps Lap u on the torus [-2, 2)^3, eps = 1",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950",
        reference="exact",
        make=functools.partial(ViscousMixture, dim=3, viscosity=1.0),
        time=0.25,
        sizes=(24, 32, 48),
        order="exponential for a spectral solver",
        solver="Spectral",
        plot="slices",
        viscous=True,
    ),
    Entry(
        name="strong-diffusion",
        title="A diffusion that an explicit scheme would have to crawl through",
        equation="u_t + |grad u|^2/2 = 10 Lap u on the torus [-2, 2)^2",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950; the datum is the package's own",
        reference="computed",
        make=StrongDiffusion,
        time=0.1,
        sizes=(32, 64, 128),
        order="exponential for a spectral solver, 2 or more for finite differences",
        solver="Spectral",
    ),
    Entry(
        name="variable-diffusion",
        title="A viscosity that depends on the place",
        equation="u_t + v(x) u_x = N(x) u_xx on the circle [0, 2 pi)",
        source="change of coordinate from the heat equation",
        reference="exact",
        make=VariableDiffusion,
        time=1.0,
        sizes=(32, 64, 128),
        order="4 with WENO5, that of the central differences; below, that of the transport",
        cfl=0.02,
        plot="profiles",
        viscous=True,
    ),
)
