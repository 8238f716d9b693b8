"""The tests of the classifiers."""
