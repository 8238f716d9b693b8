"""What is learnt from, and what of it is to be forgotten? Sources, splits, classes, samples.

May import `scenario`, `outcome` and `errors`; without torch but for `dataset`.
"""
