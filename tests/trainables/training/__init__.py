"""The tests of trainables.training."""
