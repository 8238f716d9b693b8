"""The tests of search.analysis."""
