"""The tests of the generators."""
