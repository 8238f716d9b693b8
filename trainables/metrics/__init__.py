"""What is measured of a model? One file per metric, pure functions; `evaluate` applies them all.

May import `attacks` and what stands below it.
"""
