"""What do trials share, and how is it kept? The store, its copy under a URI, shipping, recipes.

May import `methods` and what stands below it.
"""
