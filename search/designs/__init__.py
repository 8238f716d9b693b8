"""Which studies answer one question together? Repeats, comparisons, sweeps, each class in turn.

Imports `study` and what is below it.
"""
