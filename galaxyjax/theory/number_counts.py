"""Galaxies as tracers of matter: linear bias, and the magnification of what lies behind.

    delta_g = b_i delta + C_i kappa,   C_i = 5 s_i - 2 = 2 (alpha_i - 1),

where s is the slope of log10 N with limiting magnitude (Bartelmann & Schneider 2001, Phys. Rep. 340, 291;
Joachimi & Bridle 2010, A&A 523, A1). Redshift-space distortions and scales beyond Limber are not here.
"""

import jax.numpy as jnp
from jax import Array

from galaxyjax.theory.limber import Kernels


def count_kernel(kernels: Kernels, bias: Array, magnification: Array | None = None) -> Array:
    """Return the kernel of galaxy counts (nbin, npoint).

    bias: (nbin,) linear bias b_i. magnification: (nbin,) C_i = 5 s_i - 2, or None for none.
    """
    kernel = jnp.asarray(bias, kernels.number.dtype)[:, None] * kernels.number
    if magnification is None:
        return kernel
    return kernel + jnp.asarray(magnification, kernel.dtype)[:, None] * kernels.lensing
