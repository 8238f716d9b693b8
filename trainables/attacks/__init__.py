"""What does a model give away? One file per attack on what it answers.

May import `access` and what stands below it.
"""
