"""What is told of machines that receive what they lack."""

from __future__ import annotations

from pathlib import Path

from search.engine.depot import DepotActor


def test_each_receipt_is_told_once_and_first_that_it_takes_long(tmp_path: Path) -> None:
    told = DepotActor(tmp_path)
    assert told.news() == []
    told.receiving("10.0.0.2", "dataset-ab.npz")
    told.receiving("10.0.0.3", "dataset-ab.npz")
    told.received("10.0.0.3", "dataset-ab.npz", 12_345_678, 0.82)
    assert told.news() == [
        "10.0.0.3 received dataset-ab.npz (12.3 MB in 0.8 s)",
        "10.0.0.2 is receiving dataset-ab.npz",
    ]
    assert told.news() == []
    told.received("10.0.0.2", "dataset-ab.npz", 12_345_678, 63.0)
    assert told.news() == ["10.0.0.2 received dataset-ab.npz (12.3 MB in 63.0 s)"]
    assert told.news() == []
