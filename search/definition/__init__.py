"""What is a study? Its specification, its search space, its sampler and pruner by name.

Imports no other room of `search`.
"""
