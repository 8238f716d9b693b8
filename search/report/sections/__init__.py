"""The sections of a study's page, a file each: what was gathered -> a section, or None where it has
nothing to show. Pure functions; `search.report.study` has them in order."""
