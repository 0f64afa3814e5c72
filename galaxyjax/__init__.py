"""Emulators for cosmology as pure functions with a contract."""

__version__ = "0.1.0"
__all__ = ["__version__", "load", "shelf"]


def __getattr__(name):
    # Lazy, so that `import galaxyjax.core...` costs nothing above it and the floors of the house hold.
    if name == "load":
        from galaxyjax.emulator.store import load

        return load
    if name == "shelf":
        from galaxyjax.emulator.shelf import shelf

        return shelf
    raise AttributeError(f"module 'galaxyjax' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
