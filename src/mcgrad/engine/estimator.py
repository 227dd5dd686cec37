"""The class Estimator: traces and compiles f and q once, and is called many times with new parameters and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy.typing as npt

from mcgrad.arrays import stream_context
from mcgrad.backends.base import Kernel
from mcgrad.distributions.base import Distribution
from mcgrad.engine.derivation import Derivation
from mcgrad.engine.explanation import explanation
from mcgrad.engine.in_stream import InStreams
from mcgrad.engine.options import Options, Request
from mcgrad.engine.pickling import packed, unpickled
from mcgrad.engine.progress import reported
from mcgrad.engine.runner import Runner
from mcgrad.engine.stops import Stops
from mcgrad.engine.threads import thread_count
from mcgrad.gradients.plan import GROUP, MethodNames
from mcgrad.inputs.integrand import Integrand
from mcgrad.inputs.objectives import Objective
from mcgrad.inputs.sampler import REPLICATES, SCRAMBLES
from mcgrad.inputs.second import Hessian
from mcgrad.noise.source import PHILOX
from mcgrad.results.batch_estimate import BatchEstimate
from mcgrad.results.estimate import Estimate
from mcgrad.results.out import Out
from mcgrad.tasks.remote import Remote


class Estimator(Stops):
    """Estimates E f(z), z ~ q, and its gradient in the parameters; f is traced and compiled once.

    Parameters
    ----------
    f : callable, Integrand or Objective
        ``f(z, **params, **data)``: plain NumPy on one draw, returning a number, an array, or a nested dict of arrays;
        or what `elbo`, `iwae`, `kl` make. It is called twice with stand-ins for arrays, and must do the same both
        times: no random numbers, no state.
    q : Distribution
        Its parameters may change from call to call, their shapes may not. An objective has its own.
    params : nested dict of str to float or array, optional
        Parameters that only f has; they may change from call to call, too. Their gradient nests as they do.
    data : dict of str to array, optional
        Float arrays, which may change from call to call, or integers and booleans, which may index and may not. An
        Estimator keeps a copy. Integers of any width reach f as int64, in which narrow ones do not wrap. NaN stays NaN.
    wrt : str or iterable of str, optional
        Names of parameters to differentiate in: ``"loc"``, ``"a.loc"``, or ``"a"`` for all inside a. Default all;
        ``()`` for the value alone.
    cotangent : float, array or nested dict of them, optional
        Of the shape of what f returns: the gradient is that of sum(cotangent * f), at the cost of one gradient, instead
        of a Jacobian. It may change from call to call. In a batch it is the same for all rows, or has the batch axes in
        front.
    hessian : {"diag", "full"}, str, or iterable of names and pairs of names, optional
        Second derivatives to estimate, too: of each component with itself, all, all in some parameters (``["loc"]``),
        or in pairs of them (``[("spot", "vol")]``). `Estimate.hessian` has them; of a batch they are by row
        where one of their two parameters is, else summed over the rows. See docs/second-derivatives.md.
    hvp : nested dict of str to float or array, optional
        A vector in the space of the parameters: `Estimate.hvp` is the product of the Hessian with it, at the cost of
        about two gradients. Parameters that it does not name have zeros, those by row have the batch axes in front. Its
        numbers may change from call to call.
    hessian_method : {None, "pathwise", "score", "difference"}
        What gradients are differentiated by. None chooses, by pair of parameters, what serves: the pathwise derivative
        where the gradient is continuous, else score functions, else differences. `Estimate.hessian_method` says which.
    covariance : bool
        Whether to estimate the covariance of all numbers of the value, too: `Estimate.covariance`, which `ratio` needs.
    method : str or dict
        How the gradient is estimated: "pathwise", "score", "measure_valued" or "difference"; for objectives also "stl"
        and "dreg"; "auto" chooses, by a pilot, the one with the least variance for its work that is not biased. A dict
        gives one to each parameter, ``{"a": "pathwise", "b.probs": "score+mean"}``. Parameters that only f has are
        differentiated directly, or have "difference". See docs/estimators.md.
    baseline : {None, "mean", "leave_one_out", "optimal"}
        What is subtracted from f in a score function, to reduce the variance.
    k : int
        Draws that share their baselines, for "leave_one_out": n is then a multiple of k.
    sampler : {"philox", "sobol"}
        What draws are made of: independent random numbers, or the points of a Sobol' sequence, randomised: then the
        error falls faster, as about 1 / n for smooth f, and n is `replicates` times a power of two. See docs/sobol.md.
    replicates : int
        Of a point set: independent randomisations of n / replicates points each. Standard errors are those of their
        means.
    scramble : {"matrix", "owen"}
        Of a point set: a random linear map of the digits with a digital shift (Matousek 1998), or Owen's nested uniform
        scrambling, by hashing.
    antithetic : bool
        Whether draws come in pairs, the second with the noise of the first mirrored: -eps of normal noise, 1 - u of
        uniform noise. A pair is one draw of the moments, and its noise is made once; n counts two, and is a multiple of
        2. See docs/variance.md.
    control : None, "auto", "linear", "quadratic", Control, or a list of the last three
        Control variates, which leave the mean as it is and reduce the variance: see docs/variance.md. "linear" takes
        the noise of a draw and its squares, "quadratic" f's second-order model about the mean of normal draws, a
        `Control` a function whose mean is known. "auto" chooses "linear", "quadratic", both or none by a pilot.
    coefficients : {"sample", "pilot"}, optional
        Of control variates: by regression on the same draws, with a bias far below the standard error, or of a pilot
        alone, without. Default: "sample"; of a batch "pilot", as there is no other.
    proposal : Distribution, optional
        What draws come from in place of q: importance sampling, with the mean of f(z) q(z) / proposal(z), for rare
        events above all. Gradients in q's parameters are those of the weights, so that f may jump; those of the
        proposal are fixed. It has to have density wherever f(z) q(z) is not zero. See docs/importance.md.
    batched_params, batched_data : str or iterable of str
        Names of the parameters that only f has, and of the data, that have batch axes in front, as many as q has (one
        where q has none): each row of the batch has its own. f sees one row's. Integers and booleans among them become
        floats. See docs/batches.md.
    reduce : {None, "sum", "mean", "none"}
        Of a batch: None leaves the value by row, and adds up the gradients in parameters that all rows share over the
        rows; "sum" adds up the value, too; "mean" takes means of both; "none" leaves both by row. Gradients in
        parameters with batch axes are those of each row's own value in any case.
    common_noise : bool
        Of a batch, whether all rows read the same draws, those of row 0: so that rows can be compared, by
        `BatchEstimate.difference`, with little noise. The number of rows is then part of the compiled code.
    errors : bool
        Of a batch, whether derivatives that are summed over the rows have standard errors. Without, these are NaN, and
        a step of training with many shared weights takes less time. With common noise they are there in any case.
    dtype : {"float32", "float64"}, optional
        Default: the dtype that NumPy's promotion gives the inputs (Python floats are float64).
    nonfinite : {"propagate", "omit", "raise"}
        For draws whose value or gradient is not finite: "propagate" makes the components that are not finite NaN (and
        the whole gradient of a number of the value that is not finite), "omit" leaves these draws out, "raise" raises a
        NonFiniteError. They are counted in any case.
    backend : str
        "numpy", "cpu" or another that is registered, or "auto": the one with the least time by its own estimate, or the
        next best where that one fails (with a `BackendWarning`).
    threads : int, optional
        Default: $MCGRAD_NUM_THREADS, or all processors this process may use (by its affinity, and by the quota of its
        control groups), in each call; in a worker of a pool of processes, of Dask or of Ray no more than its share. The
        result does not depend on it.
    draws : int, optional
        About how many draws there will be in all, for ``backend="auto"``. Without it, so many calls of a million draws
        are assumed that compiling does not count. The CPU backend compiles for such a call at once, or else in the
        first call: one function for few draws, another for many.
    devices : iterable of int, optional
        For the CUDA backend: the devices to run on, by number. Default: all that are visible. The result does not
        depend on them.
    output : {"host", "device"}
        Where derivatives and their standard errors are left: NumPy's arrays, or CuPy's on the current device (of the
        CUDA backend, which it then is).

    Raises
    ------
    ParameterError, TraceError, BackendError
        Before anything runs.

    Notes
    -----
    A pickle holds the Programs that were made of f and q, their inputs with arrays in host memory, and what a pilot
    chose under ``method="auto"``, but not f: nothing is traced where it arrives, and f need not be there. Functions of
    q or of an Integrand that pickle does not find by name, such as a lambda, are kept as code, by the cloudpickle
    inside Numba. Under ``backend="auto"`` the backend stays the same on a machine with the same processor, if it can
    run. `copy.copy` and `copy.deepcopy` share what was traced and compiled.

    Examples
    --------
    >>> estimator = mg.Estimator(f, mg.Normal(loc, scale), dtype="float32")
    >>> est = estimator(n=4096, seed=step, loc=loc, scale=scale)
    """

    def __init__(
        self,
        f: Callable[..., Any] | Integrand | Objective,
        q: Distribution | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        wrt: str | Iterable[str] | None = None,
        cotangent: Any = None,
        hessian: Hessian = None,
        hvp: Any = None,
        hessian_method: str | None = None,
        covariance: bool = False,
        method: MethodNames = "pathwise",
        baseline: str | None = None,
        k: int = GROUP,
        sampler: str = PHILOX,
        replicates: int = REPLICATES,
        scramble: str = SCRAMBLES[0],
        antithetic: bool = False,
        control: Any = None,
        coefficients: str | None = None,
        proposal: Distribution | None = None,
        batched_params: str | Iterable[str] = (),
        batched_data: str | Iterable[str] = (),
        reduce: str | None = None,
        common_noise: bool = False,
        errors: bool = True,
        dtype: npt.DTypeLike | None = None,
        nonfinite: str = "propagate",
        backend: str = "auto",
        threads: int | None = None,
        draws: int | None = None,
        devices: Iterable[int] | None = None,
        output: str = "host",
    ) -> None:
        options = Options(
            params=params,
            data=data,
            wrt=wrt,
            cotangent=cotangent,
            hessian=hessian,
            hvp=hvp,
            hessian_method=hessian_method,
            covariance=covariance,
            method=method,
            baseline=baseline,
            k=k,
            sampler=sampler,
            replicates=replicates,
            scramble=scramble,
            antithetic=antithetic,
            control=control,
            coefficients=coefficients,
            proposal=proposal,
            batched_params=batched_params,
            batched_data=batched_data,
            reduce=reduce,
            common_noise=common_noise,
            errors=errors,
            dtype=dtype,
            nonfinite=nonfinite,
            backend=backend,
            threads=threads,
            draws=draws,
            devices=devices,
            output=output,
        )
        self._start(Derivation.of(Request(f, q, options)), options)

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the Estimator of arguments that were given elsewhere."""
        return cls.of_derivation(Derivation.of(request), request.options)

    @classmethod
    def of_derivation(cls, derived: Derivation, options: Options, ran: str | None = None) -> Self:
        """Return the Estimator of what was derived earlier, such as in another process.

        Parameters
        ----------
        derived : Derivation
        options : Options
        ran : str, optional
            The backend that ran there; "auto" takes it again if it can run.
        """
        new = object.__new__(cls)
        new._start(derived, options, ran)
        return new

    def _start(self, derived: Derivation, options: Options, ran: str | None = None) -> None:
        values: dict[str, Any] = dict.fromkeys(("params", "data", "cotangent", "hvp", "proposal", "control"))
        self._options = replace(options, **values)  # they are in `inputs` and in the Program
        self.derived = derived
        self.q, self.inputs, self.wrt, self.dtype = derived.q, derived.inputs, derived.wrt, derived.dtype
        self.plan, self.program, self.group = derived.plan, derived.program, derived.groups.size
        self._runner = Runner(derived, options, ran)
        self._own = frozenset([*vars(self), "_own"])

    def _added(self) -> dict[str, Any]:
        """Return further attributes, which the user or a subclass has set."""
        return {name: value for name, value in vars(self).items() if name not in self._own}

    def __copy__(self) -> Self:
        new = object.__new__(type(self))
        vars(new).update(vars(self))  # shared: calls change nothing in them that a result depends on
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = memo[id(self)] = self.__copy__()
        vars(new).update(deepcopy(self._added(), memo))
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickled, (type(self), *packed(self.derived, self._options, self.backend)), self._added() or None

    @property
    def threads(self) -> int:
        """Number of threads of a call: as given, or by the environment and the processors at the time of the call."""
        return thread_count(self._options.threads)

    @property
    def backend(self) -> str:
        """Name of the backend in use; under "auto" it changes when a backend fails."""
        return self._runner.dispatched.running.backend.name

    @property
    def in_streams(self) -> InStreams:
        """Puts estimates into streams of a CUDA device, where they stay: for the frameworks."""
        return self._runner.in_streams

    @property
    def _kernel(self) -> Kernel:
        return self._runner.dispatched.running.kernel

    def __call__(
        self,
        n: int,
        seed: int = 0,
        *,
        first: int = 0,
        progress: bool | Callable[[int], None] = False,
        rows: Any = None,
        stream: Any = None,
        cotangent: Any = None,
        hvp: Any = None,
        out: Mapping[str, Any] | None = None,
        first_replicate: int = 0,
        executor: Any = None,
        require_same: bool = False,
        **changes: Any,
    ) -> Estimate | BatchEstimate:
        """Estimate over the draws first .. first + n of the seed's sequence.

        Parameters
        ----------
        n : int
            Number of draws, at least 2.
        seed : int
            0 <= seed < 2**64.
        first : int
            Index of the first draw. Estimates over disjoint ranges merge.
        rows : array_like of int, optional
            Of a batch, the numbers of its rows, which say what they draw, of the batch shape; by default 0, 1, 2 ...
            A row has the same draws, and the same bits, alone and in any batch. With ``reduce="none"`` several rows may
            have one number, and then have the same draws.
        progress : bool or callable
            Whether to show a progress bar, or a function to call with the number of draws done; of a batch, rows.
        stream : optional
            A CUDA stream, from CuPy, PyTorch or anything with ``__cuda_stream__``: parameters on a device are read
            after the work that it holds, and gradients for the device are computed in it. Default: CuPy's current
            stream.
        out : dict, optional
            Arrays to write results into, under some of the names "value", "stderr", "grad" and "grad_stderr" (also
            "hessian", "hvp" and their errors), those of derivatives nested dicts by parameter: of the results' shapes,
            and of float32 or float64.
        cotangent : optional
            New weights of what f returns, for this call, where the Estimator has some.
        hvp : nested dict, optional
            A new vector that the Hessian is multiplied with, for this call, where the Estimator has one: in the
            parameters that that names.
        first_replicate : int
            Of a point set, the number of the first replicate: estimates over the same points of disjoint replicates
            merge, as do those over other points of the same ones.
        executor : concurrent.futures.Executor or dask.distributed.Client, optional
            Where draws are averaged, in place of threads of this process: processes, or machines. The result has the
            same bits. See docs/clusters.md.
        require_same : bool
            Whether to refuse an executor with a worker of another kind than this process (processor, versions), whose
            last digits may differ. The kinds are in the result in any case.
        **changes
            New values for any subset of the parameters and of the float data, of the same shapes, for this call; those
            of a Joint and other nested ones as dicts. `Estimate.merge` refuses estimates with different data. Data with
            the name of an argument of this call, such as ``n``, stay as they were. A batch may have another number of
            rows, if all that have batch axes do.

        Returns
        -------
        Estimate, or BatchEstimate of a batch

        Raises
        ------
        ParameterError
            Before anything runs.
        ExecutorError
            The executor is gone, or cannot do tasks.
        """
        options = {"cotangent": cotangent, "hvp": hvp, "first_replicate": first_replicate}
        if executor is not None and not isinstance(executor, Remote):
            with self._remote(executor, require_same) as remote:
                given = {**options, "progress": progress, "out": out}
                return self(n, seed, first=first, rows=rows, stream=stream, executor=remote, **given, **changes)
        call = self._call(n, seed, first, rows, first_replicate, executor)
        if stream is not None:
            with stream_context(stream):
                given = {**options, "progress": progress, "out": out}
                return self(n, seed, first=first, rows=rows, executor=executor, **given, **changes)
        if self._runner.rows:
            return self._estimate_rows(self._runner.rows, call, rows, progress, out, changes, cotangent, hvp)
        of = self.derived.components
        arrays = None if out is None else Out.of(out, of.value, of.split_shapes, of.second_shapes)
        values = self.inputs.values(changes, cotangent, hvp)
        estimate = partial(self._runner.estimate, values)
        found = reported(estimate, call, progress, call.n, "draws", lambda state: self._runner.drawn(state, call))
        if arrays:
            arrays.fill(found)
        return found

    def __repr__(self) -> str:
        return f"Estimator({self.derived}, backend={self.backend})"

    def explain(self) -> str:
        """Return the Program, the backend and the source that runs, as text."""
        return explanation(self.derived, self._runner.dispatched, self.threads)
