"""How do networks learn? Supervised training, passes, several networks as one, losses, memory.

May import `models`, `data` and what stands below. Methods of others train with `fit`.
"""

from trainables.training.supervised import fit

__all__ = ["fit"]
