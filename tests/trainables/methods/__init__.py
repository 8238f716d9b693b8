"""The tests of the unlearning methods."""
