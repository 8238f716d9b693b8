"""The tests of trainables."""
