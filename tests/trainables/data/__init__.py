"""The tests of trainables.data."""
