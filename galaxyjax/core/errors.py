"""Errors that name the file or parameter, its value, the bound it broke, and what to do."""

import difflib
from collections.abc import Iterable


class GalaxyjaxError(ValueError):
    """Base of every error raised on purpose; the command line prints it as one line and exits with 2."""


class DomainError(GalaxyjaxError):
    """A value lies outside the domain that a contract promises."""


class FileError(GalaxyjaxError):
    """A file or folder is missing, cut short, altered, or not what its name says."""


class UnknownName(GalaxyjaxError):
    """A parameter, output or emulator that nobody knows."""


class ConfigError(GalaxyjaxError):
    """A configuration that contradicts itself or leaves something open."""


class DataError(GalaxyjaxError):
    """Data that cannot be used: NaN, wrong shape, a covariance that is not positive definite."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """Return (not raise) an UnknownName for `name`, with the closest known names first.

    kind: what the name should have been, e.g. "parameter". known: every valid name.
    """
    name, known = str(name), sorted(str(k) for k in known)

    def likeness(other: str) -> tuple[float, float]:
        # Case is the commonest slip (h0, Sigma_8), so it only breaks ties.
        without_case = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
        return without_case, difflib.SequenceMatcher(None, name, other).ratio()

    close = sorted((k for k in known if likeness(k)[0] >= 0.6), key=likeness, reverse=True)[:3]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UnknownName(f"unknown {kind} {name!r}: {hint}known: {', '.join(known) or 'none'}")
