"""Measurements, run on demand: `python -m bench NAME`. Figures are ratios to something measured in the same
run; absolute ones depend on the machine and on what else it does."""
