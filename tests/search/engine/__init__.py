"""The tests of search.engine."""
