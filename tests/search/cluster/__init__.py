"""The tests of search.cluster."""
