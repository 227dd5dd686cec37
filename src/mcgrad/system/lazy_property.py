"""A property that is computed when it is first read, in any number of threads at once.

`functools.cached_property` of Python 3.11 holds a lock while it computes, one for all objects of a class: where one is
compiled, no other could be read. Later versions of Python have no lock.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    lazy_property = cached_property
else:

    class lazy_property(cached_property):  # noqa: N801
        """`functools.cached_property` without a lock: threads that read it at once may compute it each, and get one."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            values = instance.__dict__
            if self.attrname not in values:
                return values.setdefault(self.attrname, self.func(instance))
            return values[self.attrname]
