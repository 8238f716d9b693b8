"""Where do results lie, and what do they say? Parquet rows, their copy under a URI, SQL, status.

May import `analysis` and `definition`.
"""
