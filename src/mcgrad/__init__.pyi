from mcgrad import jax as jax, noise as noise, paths as paths, sde as sde, torch as torch
from mcgrad.backends.registry import register_backend as register_backend
from mcgrad.distributions import *
from mcgrad.engine.api import estimate as estimate
from mcgrad.engine.estimator import Estimator as Estimator
from mcgrad.engine.multilevel import Multilevel as Multilevel, mlmc as mlmc
from mcgrad.errors import (
    BackendError as BackendError,
    BackendWarning as BackendWarning,
    CacheWarning as CacheWarning,
    ControlWarning as ControlWarning,
    ExecutorError as ExecutorError,
    JumpWarning as JumpWarning,
    McgradError as McgradError,
    MergeError as MergeError,
    MultilevelWarning as MultilevelWarning,
    NonFiniteError as NonFiniteError,
    OverrunWarning as OverrunWarning,
    ParameterError as ParameterError,
    RareDrawsWarning as RareDrawsWarning,
    ToleranceWarning as ToleranceWarning,
    TraceError as TraceError,
    UnrolledWarning as UnrolledWarning,
    WeightsWarning as WeightsWarning,
)
from mcgrad.functions.vibrato import vibrato as vibrato
from mcgrad.inputs.control import Control as Control
from mcgrad.inputs.integrand import Integrand as Integrand
from mcgrad.inputs.objectives import elbo as elbo, iwae as iwae, kl as kl
from mcgrad.jax.integrand import from_jax as from_jax
from mcgrad.results.batch_estimate import BatchEstimate as BatchEstimate
from mcgrad.results.estimate import Estimate as Estimate
from mcgrad.results.interval import ConfidenceInterval as ConfidenceInterval
from mcgrad.results.multilevel_estimate import MultilevelEstimate as MultilevelEstimate
from mcgrad.results.ratio import Ratio as Ratio, ratio as ratio
from mcgrad.results.stopping import Stopping as Stopping, StoppingRule as StoppingRule
from mcgrad.torch.integrand import from_torch as from_torch
from mcgrad.trace.at import at as at
from mcgrad.trace.loops import scan as scan
from mcgrad.trace.while_loops import while_loop as while_loop
from mcgrad.validate.compare import compare as compare
from mcgrad.validate.comparison import Comparison as Comparison
from mcgrad.validate.verification import Verification as Verification, verify as verify

__version__: str
