"""The tests of trainables.artifacts."""
