"""How is it shown? Tables and progress for people, JSON and TOML for programs.

Imports `ledger` and what is below it.
"""
