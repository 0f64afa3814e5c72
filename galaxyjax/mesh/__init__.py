"""Devices: the named mesh, sharding rules, halo exchange, distributed FFT, pipeline, checkpoints, budgets."""
