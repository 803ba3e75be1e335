"""What can be done with finished latency tables: describe, draw, merge and validate them.

Modules are imported one by one: describing a table must not load what measuring needs.
"""
