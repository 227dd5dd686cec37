from mcgrad.torch.api import Estimate as Estimate, estimate as estimate, expectation as expectation
from mcgrad.torch.integrand import from_torch as from_torch
