"""Matter power spectra by NumPy alone: `predict(theta, k, z, output)` and `sigma8(theta, z)`.

The family `Spectrum` of galaxyjax written out for one cosmology in float64. `galaxyjax.emulator.numpy_file`
writes this file again with an emulator's numbers inside; that copy needs Python and NumPy, and nothing else.
"""

import base64
import io
import json
import math

import numpy as np

CONTRACT = {}  # written: name, version, licence, domain, outputs, hyperparameters
NUMBERS = ""  # written: an npz of all arrays, in base64


def predict(theta, k, z, output):
    """Return one output, (nz, nk), in (Mpc/h)^3 or as a ratio.

    theta: name -> number; those with a default may be left out. k: (nk,) in h/Mpc. z: (nz,) or a number.
    Raises ValueError outside the domain and for unknown names.
    """
    if output not in CONTRACT["outputs"]:
        raise ValueError(f"output {output!r} is not one of {', '.join(CONTRACT['outputs'])}")
    x, z, k = _checked(theta, z, output), np.atleast_1d(np.asarray(z, float)), np.asarray(k, float)
    _inside("z", z, *CONTRACT["z_range"])
    _inside("k", k, *CONTRACT["k_range"])
    linear = _linear(x, z)
    if output == "linear":
        return np.exp(_log_linear(x, linear, k))
    features, log_moments = _nonlinear_features(x, z, linear)
    extra, suppression = [("boost", _network("boost", features))], []
    if output != "nonlinear":
        both = np.concatenate([features, np.full((len(z), 1), x["logT_AGN"])], axis=-1)
        suppression = [("suppression", _network("suppression", both))]
    if output == "baryon_suppression":
        return np.exp(_sum(suppression, k))
    wiggle = _sum([("wiggle", linear["wiggle"])], k)
    damping = 1.0 + np.expm1(-(k**2) * np.exp(2.0 * log_moments[:, -1:])) * wiggle
    return np.exp(_log_linear(x, linear, k, extra + suppression)) * damping


def sigma8(theta, z=0.0):
    """Return sigma_8 of total matter, (nz,)."""
    x, z = _checked(theta, z, "linear"), np.atleast_1d(np.asarray(z, float))
    _inside("z", z, *CONTRACT["z_range"])
    return np.exp(_log_moments(x, _linear(x, z))[:, int(_array("sigma8_column"))])


def _checked(theta, z, output):
    x = {}
    for name in theta:
        if name not in CONTRACT["domain"]:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join(CONTRACT['domain'])}")
    for name in CONTRACT["outputs"][output]:
        low, high, default = CONTRACT["domain"][name]
        value = theta.get(name, default)
        if value is None:
            raise ValueError(f"parameter {name} is missing")
        x[name] = float(value)
        _inside(name, x[name], low, high)
    for coefficients, upper in CONTRACT["constraints"]:
        if sum(c * x[name] for name, c in coefficients.items() if name in x) > upper + 1e-12:
            raise ValueError(f"{coefficients} sums to more than {upper}")
    return x


def _inside(name, value, low, high):
    value = np.asarray(value)
    slack = 1e-13
    if not np.all((value >= low - slack * abs(low)) & (value <= high + slack * abs(high))):
        raise ValueError(f"{name} = {value} is outside [{low:g}, {high:g}]")


# The numbers ------------------------------------------------------------------------------------------------

_LOADED = {}


def _array(name):
    if not _LOADED:
        with np.load(io.BytesIO(base64.b64decode(NUMBERS)), allow_pickle=False) as arrays:
            _LOADED.update({key: arrays[key].astype(float) for key in arrays.files})
    return _LOADED[name]


def _network(part, features):
    """Components of one part: dense layers with x sigmoid(x), or tanh, between them."""
    y = (features - _array(f"{part}/input_mean")) / _array(f"{part}/input_scale")
    depth = len(CONTRACT["hyperparameters"][f"{part}_widths"]) + 1
    for i in range(depth):
        y = y @ _array(f"{part}/network/dense{i}/kernel") + _array(f"{part}/network/dense{i}/bias")
        if i < depth - 1:
            y = np.tanh(y) if CONTRACT["hyperparameters"]["activation"] == "tanh" else y / (1.0 + np.exp(-y))
    return y * _array(f"{part}/output_scale")


# Growth and the linear spectrum -----------------------------------------------------------------------------


def _matter_fraction(Omega_m, w0, wa, a):
    ratio = (1.0 - Omega_m) / Omega_m * np.exp(-3.0 * (w0 + wa) * np.log(a) - 3.0 * wa * (1.0 - a))
    return 1.0 / (1.0 + ratio)


def _omega_matter(x):
    return x["omega_b"] + x["omega_cdm"] + x["m_nu"] * float(_array("omega_nu_per_ev"))


def _background(x, z):
    """ln D (Linder 2005, eqs 1 and 14, corrected by a network), Omega_m(z) and Omega_m."""
    Omega_m, a = _omega_matter(x) / x["h"] ** 2, 1.0 / (1.0 + z)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    nodes, weights = 0.5 * (nodes + 1.0), 0.5 * weights
    gamma = 0.55 + 0.05 * (1.0 + x["w0"] + 0.5 * x["wa"])
    inner = _matter_fraction(Omega_m, x["w0"], x["wa"], a[:, None] * nodes)
    proxy = np.log(a) + (np.exp(gamma * np.log(inner)) - 1.0) / nodes @ weights
    values = [Omega_m, x["w0"], x["wa"], _omega_matter(x), x["m_nu"], a, z * a**2]
    log_D = proxy + _network("amplitude", np.stack(np.broadcast_arrays(*values), axis=-1))[:, 0]
    return log_D, _matter_fraction(Omega_m, x["w0"], x["wa"], a), Omega_m


def _baseline(x):
    """2 ln T without wiggles on a coarse grid (Eisenstein & Hu 1998, eqs 26 and 28 to 31)."""
    k, omega_m = (
        _array("coarse_k"),
        x["omega_b"] + x["omega_cdm"] + x["m_nu"] * float(_array("omega_nu_rest")),
    )
    share = x["omega_b"] / omega_m
    horizon = 44.5 * math.log(9.83 / omega_m) / math.sqrt(1.0 + 10.0 * x["omega_b"] ** 0.75) * x["h"]
    alpha = 1.0 - 0.328 * math.log(431.0 * omega_m) * share + 0.38 * math.log(22.3 * omega_m) * share**2
    shape = omega_m / x["h"] * (alpha + (1.0 - alpha) / (1.0 + (0.43 * k * horizon) ** 4))
    q = k * float(_array("theta2")) / shape
    ell = np.log(2.0 * math.e + 1.8 * q)
    return 2.0 * np.log(ell / (ell + (14.2 + 731.0 / (1.0 + 62.5 * q)) * q**2))


def _linear(x, z):
    log_D, Omega_m_z, Omega_m = _background(x, z)
    shape = np.array([math.log(x["omega_b"]), math.log(x["omega_cdm"]), x["m_nu"], math.log(x["h"])])
    components, split = _network("shape", shape[None]), CONTRACT["hyperparameters"]["components"][0]
    a, omega_m = 1.0 / (1.0 + z), _omega_matter(x)
    values = [Omega_m, x["w0"], x["wa"], omega_m, x["m_nu"] / omega_m, x["omega_b"] / omega_m]
    values += [
        a,
        z * a**2,
        Omega_m_z,
        log_D - np.log(a),
        _matter_fraction(Omega_m, x["w0"], x["wa"], a / 3.0),
    ]
    return {
        "log_D": log_D,
        "Omega_m_z": Omega_m_z,
        "amplitude": x["ln10A_s"] + float(_array("log_constant")) + 2.0 * log_D - 2.0 * math.log(Omega_m),
        "baseline": _baseline(x)[None],
        "shape": components[:, :split],
        "wiggle": components[:, split:],
        "growth": _network("growth", np.stack(np.broadcast_arrays(*values), axis=-1)),
    }


def _log_linear(x, linear, k, extra=()):
    tilt = (x["n_s"] - 1.0) * np.log(k * x["h"] / 0.05) + np.log(k)
    parts = [(name, linear[name]) for name in ("baseline", "shape", "growth")] + list(extra)
    return linear["amplitude"][:, None] + tilt + _sum(parts, k)


# The non-linear boost's inputs ----------------------------------------------------------------------------


def _log_moments(x, linear):
    return 0.5 * np.log(np.exp(_log_linear(x, linear, _array("quadrature_k"))) @ _array("quadrature"))


def _nonlinear_features(x, z, linear):
    log_moments = _log_moments(x, linear)
    values = [x[name] for name in ("omega_b", "omega_cdm", "m_nu", "h", "n_s", "w0", "wa")]
    values += [np.log1p(z), linear["log_D"] + np.log1p(z), linear["Omega_m_z"], *log_moments.T]
    return np.stack(np.broadcast_arrays(*values), axis=-1), log_moments


# Cubic B-splines on warped knots --------------------------------------------------------------------------


def _sum(parts, k):
    """Sum of expansions (nz, n) in splines, at k (nk,): (nz, nk)."""
    coefficients = sum(
        _array(f"{name}/mean") + amplitude @ _array(f"{name}/basis") for name, amplitude in parts
    )
    s = _position(k)
    first = np.clip(np.floor(s), 0, CONTRACT["hyperparameters"]["k_nodes"] - 2).astype(int)
    t = s - first
    u = 1.0 - t
    weights = (
        u**3 / 6.0,
        (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0,
        (3.0 * u**3 - 6.0 * u**2 + 4.0) / 6.0,
        t**3 / 6.0,
    )
    return sum(weight * coefficients[..., first + m] for m, weight in enumerate(weights))


def _position(k):
    low, high, amplitude, centre, width, nodes = _array("knots")
    x = np.log(k)
    warp = np.vectorize(math.erf)((x - centre) / (math.sqrt(2.0) * width))
    return (x + amplitude * math.sqrt(math.pi / 2.0) * width * warp - low) * ((nodes - 1) / (high - low))


if __name__ == "__main__":
    print(
        json.dumps({name: value for name, value in CONTRACT.items() if name != "hyperparameters"}, indent=1)
    )
