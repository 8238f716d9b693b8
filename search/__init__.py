"""Launches, schedules, stores and answers: the search over the trials of `trainables`.

The Python interface is `Study` (run a study) and `results` (read what was found).
"""

from search import shadows

shadows.leave_the_current_folder()  # before anything is imported that may lie there

TYPE_CHECKING = False  # as in `typing`, which is not imported before main has looked at it
if TYPE_CHECKING:
    from search.definition.spec import StudySpec
    from search.store import results
    from search.study import Study

__all__ = ["Study", "StudySpec", "results"]


def __getattr__(name: str) -> object:
    # ray and torch are imported only by those who run a study, not by those who read results.
    import importlib

    if name in __all__ and (wrong := shadows.foreign(frozenset())) is not None:
        raise ImportError(wrong)
    if name == "Study":
        return importlib.import_module("search.study").Study
    if name == "StudySpec":
        return importlib.import_module("search.definition.spec").StudySpec
    if name == "results":
        return importlib.import_module("search.store.results")
    raise AttributeError(f"module 'search' has no attribute {name!r}")
