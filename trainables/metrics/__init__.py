"""The metrics, one file each, as pure functions; `evaluate` applies them all to a model."""
