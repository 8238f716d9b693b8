"""The columns of a trial's row. Those of the core are in every file; others, such as those of
hyperparameters, may lack in files of earlier versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from trainables.outcome import CURVE, METRICS

SCHEMA_VERSION = 1

_CORE: tuple[tuple[str, pa.DataType], ...] = (
    ("study", pa.string()),
    ("number", pa.int64()),
    ("attempt", pa.int64()),
    ("state", pa.string()),
    ("reason", pa.string()),
    ("method", pa.string()),
    ("dataset", pa.string()),
    ("model", pa.string()),
    ("forget", pa.string()),
    ("base_seed", pa.int64()),
    ("seed", pa.int64()),
    ("sampler", pa.string()),
    ("started", pa.timestamp("us", tz="UTC")),
    ("finished", pa.timestamp("us", tz="UTC")),
    ("unlearn_seconds", pa.float64()),
    ("evaluate_seconds", pa.float64()),
    ("prepare_seconds", pa.float64()),
    ("device", pa.string()),
    ("peak_memory_mb", pa.float64()),
    ("host", pa.string()),
    ("params_json", pa.string()),
    ("version", pa.string()),
)

CORE = pa.schema(_CORE)
METRIC_FIELDS = pa.schema([(f"m_{name}", pa.float64()) for name in METRICS])
CONSTRAINT_FIELDS = pa.schema([("c_mia", pa.float64())])
CURVE_FIELDS = pa.schema([(f"curve_{name}", pa.list_(pa.float64())) for name in CURVE])
LABEL_FIELDS = pa.schema(
    [
        ("objective", pa.string()),
        ("zero_shot", pa.bool_()),
        ("reported_json", pa.string()),
        ("queue_seconds", pa.float64()),
        ("device_memory_mb", pa.float64()),
        ("together", pa.int64()),
        ("saved_seconds", pa.float64()),
        ("precision", pa.string()),
        ("forget_names", pa.list_(pa.string())),
        ("gap_terms", pa.string()),
    ]
)
CLASS_FIELDS = pa.schema(
    [(name, pa.list_(pa.float64())) for name in ("class_accuracy", "test_class_accuracy")]
)
LAST_FIELDS = (
    *(*METRIC_FIELDS, *CONSTRAINT_FIELDS, *LABEL_FIELDS),
    *(*CLASS_FIELDS, *CURVE_FIELDS),
)

Row = dict[str, Any]
"""One trial, keyed by column. Nulls mean "not measured"."""


def schema_of(row: Mapping[str, Any]) -> pa.Schema:
    """The explicit schema of a row: the core, its `p_` columns by type, metrics, constraints, and
    the curve as lists with an entry for each phase."""
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    hyperparameters = [
        pa.field(name, types[type(value)])
        for name, value in sorted(row.items())
        if name.startswith("p_") and value is not None
    ]
    fields = [*CORE, *hyperparameters, *LAST_FIELDS]
    return pa.schema(fields, metadata={"forgetune_schema": str(SCHEMA_VERSION)})
