from mcgrad.torch.api import Estimate as Estimate, estimate as estimate, expectation as expectation
