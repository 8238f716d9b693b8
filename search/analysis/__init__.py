"""What do tables of results say? Answers as pure functions over them.

May import `definition` alone of `search`.
"""
