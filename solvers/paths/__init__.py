"""Paths: the canonical equations and where they cross, and random paths."""
