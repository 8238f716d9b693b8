"""What is a study? Its specification, its search space, its sampler and pruner by name.

May import no other room of `search`.
"""
