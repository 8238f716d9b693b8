"""What do trials share, and how is it kept? The store, its copy under a URI, shipping, and
a file for each kind, which declares what it follows from and how it is built (`kind`, `kinds`).

May import `methods` and what stands below it.
"""
