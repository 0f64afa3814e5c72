"""The command line: one verb per step of the work, one file a verb."""

from galaxyjax.cli.app import main

__all__ = ["main"]
