"""The tests of search.store."""
