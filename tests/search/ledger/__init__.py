"""The tests of search.ledger."""
