"""The tests of search.show."""
