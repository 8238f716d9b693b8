"""The tests of search.designs."""
