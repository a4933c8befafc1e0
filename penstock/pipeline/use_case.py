"""What every use case has in common: it takes the platform and an actor, and its log lines name the
actor.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from structlog.contextvars import bound_contextvars

from penstock.core.actors import Actor
from penstock.settings import Settings
from penstock.wiring import Platform

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: Most use cases work with an open platform. Those that come before there is one (the stack, the
#: doctor, the practice exchange) work with the settings alone.
_On = TypeVar("_On", Platform, Settings)


def use_case(
    function: Callable[Concatenate[_On, Actor, _P], _R],
) -> Callable[Concatenate[_On, Actor, _P], _R]:
    """Mark a function of penstock.pipeline that interfaces, flows and tasks may call.

    What is logged while it runs carries the actor's name and channel.
    """

    @wraps(function)
    def asked(on: _On, actor: Actor, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with bound_contextvars(actor=actor.name, channel=actor.channel.value):
            return function(on, actor, *args, **kwargs)

    return asked
