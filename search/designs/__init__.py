"""Which studies answer a question together? Repeats, comparisons, sweeps, every class in turn.

May import `study` and what stands below it.
"""
