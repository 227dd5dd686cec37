"""Paths of stochastic differential equations: loops over steps, from the normal noise of a draw, in plain NumPy."""

from mcgrad.sde.barriers import Maximum as Maximum, Minimum as Minimum, Survival as Survival
from mcgrad.sde.exact import gbm as gbm, ou as ou
from mcgrad.sde.schemes import euler as euler, heun as heun
from mcgrad.sde.second_order import milstein as milstein
from mcgrad.sde.square_root import cir as cir
from mcgrad.system.public_names import listed

__all__ = ["Maximum", "Minimum", "Survival", "cir", "euler", "gbm", "heun", "milstein", "ou"]
__dir__ = listed(__name__)
