"""What is learnt from, and what of it is to be forgotten? Sources, splits, classes, samples.

Imports `errors` alone. Only `dataset` imports torch.
"""
