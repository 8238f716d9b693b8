"""What do trials share, and how is it kept? The store, its copy under a URI, shipping, recipes.

Imports `models`, `data` and what is below them.
"""
