from mcgrad.torch.api import WithStderr as WithStderr, expectation as expectation
