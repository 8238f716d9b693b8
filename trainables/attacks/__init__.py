"""What does a model give away? One file per attack, on its answers and features.

Imports nothing of ours.
"""
