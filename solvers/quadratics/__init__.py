"""Closed forms: quadratic data under quadratic Hamiltonians, planes, and the Gaussian integral at a point."""
