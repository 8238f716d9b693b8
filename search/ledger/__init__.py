"""What is true of a study's trials? Asked, settled, told, resumed, and who holds the study.

Imports `store` and what is below it; knows no engine.
"""
