"""How do networks learn? Supervised training, passes, several networks as one, memory.

Imports `models`, `data` and what is below them. `fit` is what methods of others train with.
"""

from trainables.training.supervised import fit

__all__ = ["fit"]
