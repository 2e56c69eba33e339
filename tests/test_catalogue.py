"""The catalogue of worked problems."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import problems

ENTRIES = list(problems.CATALOGUE.values())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_says_what_it_needs_to(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert problems.find(entry.name) is entry
    for text in (entry.title, entry.equation, entry.source, entry.order):
        assert text.strip()
        assert "\n" not in text
    problem = entry.build()
    assert (entry.reference == "none") != isinstance(problem, problems.AbstractExactProblem)
    domain = problem.problem.domain
    assert domain is not None
    assert problem.problem.dim == domain.dim
    assert hasattr(hjpde.solvers, entry.solver)
    assert entry.plot == {1: "profiles", 2: "contours"}.get(domain.dim, "slices")
    assert list(entry.sizes) == sorted(set(entry.sizes))
    assert entry.time > 0
    for n in entry.sizes:
        assert len(entry.shape(n)) == domain.dim
        assert np.prod(entry.shape(n)) < 1_000_000


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_errors_are_measured_in_the_middle_and_where_the_mask_says(entry):
    domain = entry.build().problem.domain
    points = np.stack([np.asarray(domain.lower), np.asarray(domain.lower + domain.upper) / 2])
    corner, middle = entry.mask(entry.time, jnp.asarray(points))
    assert middle | (entry.name == "air3d")
    assert corner == (entry.measured is None)


def test_air3d_has_the_grid_of_the_literature():
    assert problems.find("air3d").shape(40) == (51, 40, 50)


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(ValueError, match=r"no problem 'cole-hop'.*cole-hopf"):
        problems.find("cole-hop")
    with pytest.raises(ValueError, match=r"no problem '####'.*air3d"):
        problems.find("####")


def test_a_viscosity_that_cannot_be_chosen_is_refused():
    with pytest.raises(ValueError, match="`viscosity` cannot be chosen for 'eikonal-star'"):
        problems.find("eikonal-star").build(0.1)
