"""The tests of trainables.attacks."""
