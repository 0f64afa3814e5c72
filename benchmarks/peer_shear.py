"""KiDS-1000 with the spectrum of cosmopower-jax, sampled by NumPyro: a peer of the whole chain.

Everything but the spectrum is the project's own: projection, distances, growth, alignment, priors, data and
covariance, the emulator's error in it included. What the peer's physics changes: massless neutrinos, and
HMcode2016's c_min, flat in [2, 3.13] with eta_0 = 0.98 - 0.12 c_min (as Joachimi et al. 2021), in place of
HMcode2020's logT_AGN; so there are as many parameters.
"""

import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import peer_cosmopower
from peer_cosmopower import HIGH, LOW, NAMES

from galaxyjax.infer.diagnostics import convergence
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import Fixed, Prior, Uniform
from galaxyjax.infer.shear import ShearModel

C_MIN = (2.0, 3.13)
RADIUS = 8.0  # Mpc/h, of sigma_8


class Spectrum:
    """What `ShearModel` asks of an emulator, from the peer's networks; clipped to their domain."""

    def __init__(self):
        networks, modes = peer_cosmopower.networks()
        self._linear, self._nonlinear = networks["linear"], networks["nonlinear"]
        self._modes = np.asarray(modes, np.float64)
        edges = dict(
            zip((*NAMES, "c_min"), zip((*LOW, C_MIN[0]), (*HIGH, C_MIN[1]), strict=True), strict=True)
        )
        domain = {
            name: SimpleNamespace(low=float(low), high=float(high)) for name, (low, high) in edges.items()
        }
        self.contract = SimpleNamespace(domain=domain, constraints=())

    def predict(self, theta, *, k, z, output):
        """P (nz, nk) in (Mpc/h)^3 at k (nz, nk) in h/Mpc, ln P linear in ln k between 420 modes."""
        v, c_min = self._inputs(theta), jnp.clip(theta["c_min"], *C_MIN)
        baryons = jnp.stack([c_min, 0.98 - 0.12 * c_min])
        table = jnp.log(jax.vmap(lambda one: self._nonlinear(v, one, baryons))(z))
        asked, nodes = jnp.log(k * v[2]), jnp.asarray(np.log(self._modes), k.dtype)
        return jnp.exp(jax.vmap(jnp.interp, (0, None, 0))(asked, nodes, table)) * v[2] ** 3

    def sigma8(self, theta, z):
        """sigma_8 (nz,) from the peer's linear spectrum at its own modes."""
        v = self._inputs(theta)
        x = RADIUS * jnp.asarray(self._modes, v.dtype) / v[2]
        small = x < 0.1
        safe = jnp.where(small, 1.0, x)
        window = jnp.where(small, 1.0 - x**2 / 10.0, 3.0 * (jnp.sin(safe) - safe * jnp.cos(safe)) / safe**3)
        weight = jnp.asarray(self._modes**3 / (2.0 * np.pi**2), v.dtype) * window**2
        power = jax.vmap(lambda one: self._linear(v, one))(z)
        return jnp.sqrt(
            jax.scipy.integrate.trapezoid(power * weight, np.log(self._modes).astype(v.dtype), axis=-1)
        )

    def _inputs(self, theta):
        v = jnp.stack([jnp.asarray(theta[name]) for name in NAMES])
        return jnp.clip(v, jnp.asarray(LOW, v.dtype), jnp.asarray(HIGH, v.dtype))


def posterior(prior: Prior, shear, likelihood) -> Posterior:
    """The posterior of `prior` (ours), with c_min for logT_AGN and no neutrino mass."""
    terms = {}
    for names, term in prior.terms:
        if names == ("logT_AGN",):
            names, term = ("c_min",), Uniform(*C_MIN)
        terms[names] = Fixed(0.0) if names == ("m_nu",) else term
    model = ShearModel(Spectrum(), shear, "nonlinear")
    return Posterior(Prior(terms), lambda values: model.log_likelihood(values, likelihood), model.derived)


def sample(posterior: Posterior, start, method: str, settings: dict) -> dict:
    """Draws (chains, draws, d) of NumPyro's NUTS, with the seconds of each part.

    A dense metric, coordinates in which the prior is a standard normal, and chains that start at `start`
    (d,) give the warm-up the least to do; all else is NumPyro's default. The kernel is called by blocks,
    each the same compiled program, so that the chains stop where ours do and nothing is compiled twice, as
    `MCMC.run` would.
    method: "vectorized", all chains in one program, or "parallel", a device a chain.
    """
    from numpyro.infer import NUTS

    chains, block, warmup = settings["chains"], settings["block"], settings["warmup"]
    began = time.perf_counter()
    kernel = NUTS(potential_fn=lambda u: -posterior.log_density(u), dense_mass=True)
    noise = 0.1 * np.random.default_rng(settings["seed"]).standard_normal((chains, posterior.dimension))
    starts = jnp.asarray(np.asarray(start) + noise, jnp.float32)
    keys = jax.random.split(jax.random.PRNGKey(settings["seed"]), chains)
    parallel = method == "parallel"

    def draw(state):
        def one(state, _):
            state = kernel.sample(state, (), {})
            return state, (state.z, state.num_steps, state.diverging)

        return jax.lax.scan(one, state, None, length=block)

    def first(key, u):
        return kernel.init(key, warmup, u, (), {})

    state = (jax.pmap if parallel else jax.jit)(first)(keys, starts)
    step = (jax.pmap(draw) if parallel else jax.jit(draw)).lower(state).compile()
    jax.block_until_ready(state)
    compiled = time.perf_counter()
    for _ in range(-(-warmup // block)):
        state, _ = step(state)
    jax.block_until_ready(state)
    warmed, kept = time.perf_counter(), []
    names = posterior.prior.names
    while True:
        state, new = step(state)
        # Chains first: a device a chain leaves them there, one program leaves the draws first.
        kept.append(jax.tree.map(lambda a: np.asarray(a) if parallel else np.swapaxes(a, 0, 1), new))
        position, steps, diverging = (np.concatenate(part, axis=1) for part in zip(*kept, strict=True))
        look = convergence(position)
        enough = look.max_r_hat < settings["r_hat"] and look.min_ess >= settings["ess"]
        drawn = position.shape[1]
        if drawn >= settings["min_draws"] and (enough or drawn >= settings["max_draws"]):
            break
    ended = time.perf_counter()
    values = posterior.prior.constrain(position)
    return {
        "values": np.stack([values[name] for name in names], axis=-1),
        "names": names,
        "compile_s": compiled - began,
        "warmup_s": warmed - compiled,
        "sampling_s": ended - warmed,
        "gradients": int(steps.sum()),
        "divergent": float(diverging.mean()),
        "step_size": float(np.mean(state.adapt_state.step_size)),
    }
