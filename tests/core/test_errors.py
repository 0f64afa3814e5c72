import pytest

from galaxyjax.core import errors


@pytest.mark.parametrize("kind", ["DomainError", "FileError", "UnknownName", "ConfigError", "DataError"])
def test_every_error_is_a_value_error_of_ours(kind):
    assert issubclass(getattr(errors, kind), errors.GalaxyjaxError)
    assert issubclass(errors.GalaxyjaxError, ValueError)


def test_unknown_name_says_what_was_said_what_was_meant_and_what_is_known():
    error = errors.unknown_name("parameter", "omega_cmd", ["omega_b", "omega_cdm", "h"])
    assert isinstance(error, errors.UnknownName)
    message = str(error)
    assert message == (
        "unknown parameter 'omega_cmd': did you mean omega_cdm or omega_b? known: h, omega_b, omega_cdm"
    )


def test_unknown_name_looks_past_the_case():
    assert "did you mean sigma_8?" in str(errors.unknown_name("output", "SIGMA_8", ["sigma_8", "h"]))


def test_unknown_name_does_not_guess_wildly():
    message = str(errors.unknown_name("emulator", "zzz", ["matter_power"]))
    assert "did you mean" not in message and "known: matter_power" in message
    assert "known: none" in str(errors.unknown_name("emulator", "zzz", []))
