"""Doors to programs of other projects: each converts names and units, and nothing else."""
