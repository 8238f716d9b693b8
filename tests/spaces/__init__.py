"""The tests of spaces."""
