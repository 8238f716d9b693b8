"""Generators of synthetic samples."""
