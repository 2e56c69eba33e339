"""The commands of the program `hjpde`, one file each.

They import what they run when they run, so that `hjpde --help` loads no scikit-learn and no matplotlib.
"""
