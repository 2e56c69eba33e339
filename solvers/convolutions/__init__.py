"""Convolutions along the axes of a grid: infimal ones, and Gaussian ones in the log domain."""
