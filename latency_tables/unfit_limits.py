"""From where on a machine was not fit to measure: judged when it measures, and again of any table that is handed on."""

UNFIT_DRIFT = 2.0
"""Ratio of the slowest to the fastest moments (95th to 5th percentile) that correction is not trusted with."""
UNFIT_HALVES = 1.15
"""How much slower or faster the second half of the session may be: heat, or a job that came or went."""
UNFIT_INTERRUPTED = 0.25
"""Share of readings during which the system ran another program on our core."""
UNFIT_STOLEN = 0.05
UNFIT_THROTTLED = 0.01
UNFIT_STOPS = 0.01
UNFIT_TIMER = 0.02
CROWDED = 0.25
"""Cores that other programs may keep busy beyond those that we leave free: daemons take a few per cent."""
