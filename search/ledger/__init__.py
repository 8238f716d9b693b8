"""What is true of a study's trials? Asked, settled, told, resumed, and who holds the study.

May import `store` and what stands below it: it knows no engine.
"""
