from mcgrad.jax.api import Estimate as Estimate, estimate as estimate, expectation as expectation
