"""The tables, figures and page of `hjpde solve` and `hjpde problems`."""

import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hjpde._animation import Scene, plane_scene, profile_scene, write_gif, write_html
from hjpde._plotting_solution import (
    Plane,
    convergence_figure,
    fields_figure,
    level_sets_figure,
    profiles_figure,
    times_figure,
)
from hjpde._report import Column, Picture, Section, TableOf, write_report
from hjpde._solution import Solution
from hjpde._solve_job import CLOSED_FORMS, GridRun, SolveJob, exact_values, history, rows
from hjpde._types import Scalar
from hjpde._viscosity import NoViscosity
from hjpde.problems import CATALOGUE

if TYPE_CHECKING:
    from rich.console import Console

_PROFILE_TIMES = 5
_CURVE_TIMES = 9
_CURVE_STEPS = 48
_FRAMES = 41
_AXES = {
    "pendulum": ("θ [rad]", "ω [1]"),
    "dubins-car": ("x [1]", "y [1]", "θ [rad]"),
    "air3d": ("x [1]", "y [1]", "ψ [rad]"),
    "bicycle": ("x [1]", "y [1]", "θ [rad]", "v [1]"),
    "double-integrator": ("place [1]", "speed [1]"),
    "hovering-quadrotor": ("place 1 [1]", "speed 1 [1]", "place 2 [1]", "speed 2 [1]"),
}
