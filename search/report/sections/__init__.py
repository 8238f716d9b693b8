"""The sections of a page, a file each: what was gathered -> a section, or None where it has nothing
to show. Pure functions; `search.report.study` and `search.report.studies` have them in order."""
