"""What runs where? Ray: the searcher, machines, preparation, fusing, jobs.

Only this room starts Ray. Imports `ledger` and what is below it.
"""
