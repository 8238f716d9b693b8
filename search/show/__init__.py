"""How is it shown? Tables and progress for people, JSON and TOML for programs.

May import `ledger` and what stands below it.
"""
