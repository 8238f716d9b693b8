"""What runs where? Ray: the searcher, machines, preparation, fusing, jobs.

May import `show`, `ledger` and what stands below.
"""
