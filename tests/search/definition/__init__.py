"""The tests of search.definition."""
