"""The tests of search.cli."""
