"""Stepping through time on a grid: differences, modes, viscosity, and the speed that sets the step."""
