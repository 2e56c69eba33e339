"""Grids: nodes, what is beyond their borders, interpolation, and values on them as a datum or a solution."""
