"""Results and artifacts under a URI, against a real S3-compatible server and a shared folder."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from search.ledger.hold import StudyHeld
from search.store import mirror as mirrors
from search.store import results
from search.store.mirror import Lease, Mirror, locate, mirror_of, place_of
from search.store.status import status
from tests.search.toys import measured, open_ledger, settle, stored
from trainables.artifacts import remote as remotes
from trainables.artifacts.remote import Remote, hidden
from trainables.artifacts.store import Store
from trainables.errors import InvalidRequest
from trainables.scenario import Places


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3-compatible server with the bucket `bucket`; the options that lead a URI to it."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    threaded = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        where = {"endpoint_override": f"{host}:{port}", "scheme": "http", "region": "us-east-1"}
        fs.S3FileSystem(**where, allow_bucket_creation=True).create_dir("bucket")
        yield "?" + "&".join(f"{name}={value}" for name, value in where.items())
    threaded.stop()


@pytest.fixture(params=["s3", "file"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of the test's own: in the bucket, or a folder that machines share."""
    if request.param == "file":
        (tmp_path / "shared").mkdir()
        return f"file://{tmp_path}/shared/results"
    return f"s3://bucket/{tmp_path.name}/results{request.getfixturevalue('server')}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "SETTLING_SECONDS", 0.0)
    monkeypatch.setattr(remotes, "PAUSES", (0.0, 0.0))


def on(machine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From here on as if on another machine: nothing of the first one's disk is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
    monkeypatch.setattr("socket.gethostname", lambda: machine)


class TestAPlace:
    def test_holds_files_whole_by_name(self, uri: str) -> None:
        place = Remote(uri)
        assert place.read("a/b") is None
        assert place.list() == []
        place.write("a/b", b"first")
        place.write("a/b", b"second")
        place.write("c", b"")
        assert place.read("a/b") == b"second"
        assert sorted((item.name, item.size) for item in place.list()) == [("a/b", 6), ("c", 0)]
        assert [item.name for item in place.list("a")] == ["a/b"]
        place.delete("a/b")
        place.delete("a/b")
        assert [item.name for item in place.list()] == ["c"]

    @pytest.mark.parametrize(
        ("uri", "reason"),
        [
            ("ftp://host/x", "begins with one of s3://"),
            ("s3://bucket/x?colour=red", "colour"),
            ("results://", "begins with one of"),
        ],
    )
    def test_that_is_none_is_refused_in_one_line(self, uri: str, reason: str) -> None:
        with pytest.raises(InvalidRequest, match=reason) as caught:
            locate(uri)
        assert "\n" not in str(caught.value)

    def test_without_its_bucket_is_refused(self, server: str) -> None:
        with pytest.raises(InvalidRequest, match="there is no bucket nowhere"):
            locate(f"s3://nowhere/results{server}")

    def test_where_nobody_answers_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="cannot be reached"):
            locate("s3://b/x?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1")

    def test_is_told_without_its_secrets(self) -> None:
        shown = hidden("s3://AKIA:hush@bucket/x?region=eu&secret_key=hush&session_token=hush")
        assert shown == "s3://bucket/x?region=eu"

    def test_that_does_not_answer_at_once_is_asked_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = []
        real = Path.mkdir

        def shaky(self: Path, *given: object, **named: object) -> None:
            tries.append(self)
            if len(tries) < 3:
                raise OSError("the network is down")
            real(self, *given, **named)  # type: ignore[arg-type]

        place = Remote(f"file://{tmp_path}/shared")
        monkeypatch.setattr(Path, "mkdir", shaky)
        place.write("x", b"there")
        assert len(tries) == 3
        assert place.read("x") == b"there"


def test_a_study_is_continued_on_another_machine_and_nothing_is_run_twice(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("first", monkeypatch, tmp_path)
    root = locate(uri)
    with open_ledger(root) as ledger:
        settle(ledger, 4)
        ledger.ask()  # it will never settle: the machine is lost
    rows = stored(root)

    on("second", monkeypatch, tmp_path)
    elsewhere = locate(uri)
    assert elsewhere != root
    assert stored(elsewhere) == rows
    with open_ledger(elsewhere) as ledger:
        rest = settle(ledger)
        ledger.compact()
    assert [ticket.number for ticket in rest] == [4, 5]
    names = [item.name for item in Remote(uri).list()]
    assert len([name for name in names if name.endswith(".parquet")]) == 1, "joined there too"

    on("first", monkeypatch, tmp_path)
    back = locate(uri)
    assert back == root
    assert stored(back) == stored(elsewhere)
    assert len(list((back / "study=toy" / "trials").iterdir())) == 1, "parts that are gone go"


def test_a_random_study_comes_to_the_same_on_two_machines_as_on_one(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path / "alone") as ledger:
        settle(ledger)
    for machine in ("first", "second"):
        on(machine, monkeypatch, tmp_path)
        with open_ledger(locate(uri)) as ledger:
            settle(ledger, 3)
    compared = [
        [{**measured(row), "queue_seconds": 0} for row in stored(root)]
        for root in (locate(uri), tmp_path / "alone")
    ]
    assert compared[0] == compared[1]


def test_what_was_not_sent_is_sent_when_the_machine_is_asked_again(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("first", monkeypatch, tmp_path)
    root = locate(uri)

    def down(self: Mirror, path: Path) -> None:
        raise OSError("the network is down")

    with open_ledger(root) as ledger:
        settle(ledger, 2)
        with monkeypatch.context() as patch:
            patch.setattr(Mirror, "push", down)
            with pytest.raises(InvalidRequest, match="cannot be written"):
                settle(ledger, 1)
    on("second", monkeypatch, tmp_path)
    assert len(stored(locate(uri))) == 2
    on("first", monkeypatch, tmp_path)
    assert len(stored(locate(uri))) == 3
    on("second", monkeypatch, tmp_path)
    assert len(stored(locate(uri))) == 3


class TestALease:
    def test_keeps_a_second_driver_off_until_it_is_released(
        self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on("first", monkeypatch, tmp_path)
        with open_ledger(locate(uri)) as ledger:
            settle(ledger, 1)
            on("second", monkeypatch, tmp_path)
            with pytest.raises(StudyHeld, match="on first"), open_ledger(locate(uri)):
                pass
            assert "on first" in str(status(locate(uri), "toy").holder)
        with open_ledger(locate(uri)) as ledger:
            assert ledger.settled == 1
        assert status(locate(uri), "toy").holder is None

    def test_expires_with_its_holder(
        self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on("second", monkeypatch, tmp_path)
        root = locate(uri)
        lost = {"id": "x", "pid": 7, "host": "lost", "renewed": time.time()}
        name = "study=toy/lease.json"
        Remote(uri).write(name, json.dumps(lost).encode())
        with pytest.raises(StudyHeld, match="process 7 on lost"), open_ledger(root):
            pass
        silent = {**lost, "renewed": time.time() - mirrors.LEASE_SECONDS - 1}
        Remote(uri).write(name, json.dumps(silent).encode())
        with open_ledger(root) as ledger:
            settle(ledger, 1)

    def test_is_renewed_while_it_is_held(
        self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on("first", monkeypatch, tmp_path)
        monkeypatch.setattr(mirrors, "RENEW_SECONDS", 0.01)
        root = locate(uri)
        found = mirror_of(root)
        assert found is not None
        lease = Lease(root / "study=toy", found)
        assert lease.acquire() is None

        def renewed() -> float:
            return float(json.loads(Remote(uri).read("study=toy/lease.json") or b"")["renewed"])

        first, deadline = renewed(), time.monotonic() + 20
        while renewed() == first:
            assert time.monotonic() < deadline
        lease.release()
        assert Remote(uri).read("study=toy/lease.json") is None

    def test_that_another_driver_took_over_ends_the_first_ones_run(
        self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on("first", monkeypatch, tmp_path)
        monkeypatch.setattr(mirrors, "RENEW_SECONDS", 0.01)
        other = json.dumps({"id": "other", "pid": 7, "host": "second", "renewed": time.time()})
        with open_ledger(locate(uri)) as ledger:
            settle(ledger, 1)
            assert ledger._hold.lease is not None
            deadline = time.monotonic() + 20
            while not ledger._hold.lease.lost:  # a renewal under way may still overwrite it
                Remote(uri).write("study=toy/lease.json", other.ljust(mirrors.LEASE_BYTES).encode())
                assert time.monotonic() < deadline
            with pytest.raises(StudyHeld, match="took it over"):
                settle(ledger, 1)
        assert json.loads(Remote(uri).read("study=toy/lease.json") or b"")["id"] == "other"
        assert len(stored(locate(uri))) == 1

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"pid": "x", "renewed": 1}'])
    def test_that_cannot_be_read_holds_nobody_off(
        self, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shared").mkdir()
        on("first", monkeypatch, tmp_path)
        uri = f"file://{tmp_path}/shared"
        Remote(uri).write("study=toy/lease.json", content)
        with open_ledger(locate(uri)) as ledger:
            settle(ledger, 1)


def test_names_from_elsewhere_never_leave_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    on("first", monkeypatch, tmp_path)
    uri = f"file://{tmp_path}/shared"
    hostile = [remotes.Listed(name, 1, 1e12) for name in ("../out", "a/../../out", "/out", "a\\b")]
    monkeypatch.setattr(Remote, "list", lambda self, folder="": hostile)
    monkeypatch.setattr(Remote, "read", lambda self, name: b"x")
    root = locate(uri)
    assert [path.name for path in root.rglob("*") if not path.name.startswith(".")] == []
    assert not list(tmp_path.rglob("out"))


def test_a_place_is_told_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").mkdir()
    on("first", monkeypatch, tmp_path)
    uri = f"file://{tmp_path}/shared"
    assert place_of(locate(uri)) == uri
    assert place_of(locate(uri) / "study=toy") == f"{uri}/study=toy"
    assert place_of(tmp_path) == str(tmp_path)
    with pytest.raises(InvalidRequest, match=f"no studies in {uri}"):
        results.existing(locate(uri), "")


class TestADepotOfArtifacts:
    def test_is_asked_once_for_each_machine_and_filled_by_the_builder(
        self, uri: str, tmp_path: Path
    ) -> None:
        built = []

        def build() -> tuple[dict[str, torch.Tensor], dict[str, int]]:
            built.append(1)
            return {"w": torch.arange(3.0)}, {"steps": 5}

        first = Store(tmp_path / "a", Remote(uri))
        assert not first.has("base", {"seed": 0})
        assert first.obtain("base", {"seed": 0}, build).origin == "built"
        second = Store(tmp_path / "b", Remote(uri))
        assert second.has("base", {"seed": 0})
        found = second.obtain("base", {"seed": 0}, build)
        assert (found.origin, found.facts, len(built)) == ("cached", {"steps": 5}, 1)
        assert found.tensors["w"].tolist() == [0.0, 1.0, 2.0]
        alone = Store(tmp_path / "b")
        assert alone.obtain("base", {"seed": 0}, build).origin == "cached", "it lies here now"
        assert len(built) == 1

    def test_that_was_damaged_is_built_anew_and_mended(self, uri: str, tmp_path: Path) -> None:
        def build() -> tuple[dict[str, torch.Tensor], dict[str, int]]:
            return {"w": torch.ones(2)}, {}

        Store(tmp_path / "a", Remote(uri)).obtain("base", {}, build)
        (weights,) = [item.name for item in Remote(uri).list() if "safetensors" in item.name]
        whole = Remote(uri).read(weights)
        Remote(uri).write(weights, b"torn")
        found = Store(tmp_path / "b", Remote(uri)).obtain("base", {}, build)
        assert found.origin == "built"
        assert Remote(uri).read(weights) == whole

    def test_has_a_folder_of_its_own_on_each_machine(self, tmp_path: Path) -> None:
        places = Places(data=tmp_path, artifacts="s3://bucket/models")  # type: ignore[arg-type]
        assert places.depot == "s3://bucket/models"
        assert places.artifacts.is_absolute()
        assert places.artifacts != Places(data=tmp_path, artifacts="s3://other").artifacts  # type: ignore[arg-type]
        assert Places(data=tmp_path, artifacts=tmp_path).depot is None
