"""Answers as pure functions over tables of results."""
