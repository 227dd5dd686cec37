from mcgrad.jax.api import Estimate as Estimate, estimate as estimate, expectation as expectation
from mcgrad.jax.integrand import from_jax as from_jax
