"""What each variant of router and suite does differently; $ROUTER_VARIANT chooses one."""

import os
from dataclasses import dataclass, replace

import pytest


@dataclass(frozen=True)
class Variant:
    """One state of the code and its tests; the defaults are the state in which the flakes were reported."""

    name: str
    # What decides between workers of equal cost.
    tie_break: str = "smallest_tree"
    # Whether a request is held back for a fixed time before its first attempt, in case events are still on their way.
    sleeps_before_first_attempt: bool = True
    # When the router's queue of events is awaited: not, `after` each request, or `before` each.
    awaits_events: str | None = None
    # Whether two indexers are compared once both have everything, and not after a fixed time.
    awaits_sync: bool = False
    # Seconds a service may take to end; without a bound it may take forever.
    stop_bound_s: float | None = None
    # Who shares a runtime, its lease and its event publisher: the `process`, or nobody (`instance`).
    scope: str = "process"
    # Whether what the process shares is dropped before each test and each further runtime.
    resets: bool = False

    def __str__(self):
        return self.name


_BASELINE = Variant("baseline")
# Ties go to the worker that holds more.
_FIX8 = replace(_BASELINE, name="fix8", tie_break="largest_tree")
# Ties go to whichever the hash map yields; requests are sent without delay.
_FIX9 = replace(_BASELINE, name="fix9", tie_break="map_order", sleeps_before_first_attempt=False)
_FIX12 = replace(_FIX9, name="fix12", awaits_events="after")
_FIX13 = replace(_FIX9, name="fix13", awaits_events="before")
# Conditions instead of times, bounds on every wait, the tie-break of fix8.
_FIX14 = replace(_FIX13, name="fix14", tie_break="largest_tree", awaits_sync=True, stop_bound_s=5.0)
_RESET = replace(_FIX14, name="reset", resets=True)
_SCOPED = replace(_FIX14, name="scoped", scope="instance")

VARIANTS = {variant.name: variant for variant in [_BASELINE, _FIX8, _FIX9, _FIX12, _FIX13, _FIX14, _RESET, _SCOPED]}


def _chosen():
    name = os.environ.get("ROUTER_VARIANT", "baseline")
    if name not in VARIANTS:
        raise pytest.UsageError(f"ROUTER_VARIANT=`{name}` is none of {', '.join(VARIANTS)}")
    return VARIANTS[name]


VARIANT = _chosen()
