"""The Ray that studies run on: started, or connected to, where it is needed, and ended after.

Everything that works around how Ray 2.60 starts and ends is in this file, with its reason.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search import shadows
from trainables.errors import InvalidRequest

if TYPE_CHECKING:
    from ray.job_config import JobConfig

ANSWER_SECONDS = 5.0
"""How long what listens at a cluster's address may take to answer."""

WHAT_TO_GIVE = "give HOST:PORT as `ray start --head` says it, or auto on a machine of the cluster"

LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes of a folder in which Ray's sockets have paths that Linux takes."""

_turn = threading.RLock()  # of the one thread that starts and ends Ray
_lasting: ExitStack | None = None


@contextmanager
def kept() -> Iterator[ExitStack]:
    """What `connected` starts inside stays for the next one, and is ended in the end; nested, by
    the outermost. A thread waits for another one's to end: a process has one Ray."""
    global _lasting
    with _turn:
        if _lasting is not None:
            yield _lasting
            return
        try:
            with ExitStack() as _lasting:
                yield _lasting
        finally:
            _lasting = None


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """With Ray, which ends thereafter if it was started, or connected to, for this; one that the
    process had stays as it is. Arguments and errors are those of `start_ray`."""
    import ray

    if ray.is_initialized() and _lasting is None:
        yield
        return
    with kept() as lasting:
        if not ray.is_initialized():
            # Also where it is interrupted while it starts. Ray's processes end with the thread that
            # started them, so it cannot be left to the end of the process.
            lasting.callback(_end)
            start_ray(address)
        yield


def _end() -> None:
    """End Ray, whatever Ctrl-C meanwhile: half-ended, it would leave processes behind."""
    import ray

    with on_interrupt(lambda: None):
        ray.shutdown()


@contextmanager
def on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` at each Ctrl-C, in the body; only the main thread gets such."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ours() -> bool:
    """Whether Ray is this process' own, started by `connected`, on this machine."""
    from search.engine.machines import on_a_cluster

    return _lasting is not None and not on_a_cluster()


def start_ray(address: str | None = None) -> None:
    """Start Ray on this machine unless this process is connected already; or connect to the cluster
    at `address` (HOST:PORT; "auto": the one that this machine belongs to; "local": none).

    Workers see what is installed and PYTHONPATH, but neither the current folder nor that of the
    program. Raises InvalidRequest if there is no cluster there, if Ray cannot start here, and if a
    worker here would import a foreign module.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    how: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "job_config": _job(_path()),
    }
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        what = "Ray does not start on this machine"
        how |= {"include_dashboard": False, "_temp_dir": _folder()}
    else:
        what = f"no Ray cluster at {address}"
        _look_for(address)
    try:
        ray.init(address=address, **how)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InvalidRequest(f"{what}: {_line(error)}") from None


def _job(path: list[str]) -> JobConfig:
    """The job of a driver whose workers look for modules in these folders first."""
    from ray.job_config import JobConfig

    class Closed(list[str]):
        """Ray adds the program's folder and the current one, and workers put them before all
        others: a file `random.py` that lies there would be imported for Python's."""

        def extend(self, _: object) -> None: ...

    job = JobConfig()
    job._py_driver_sys_path = Closed(path)
    return job


_AS_A_WORKER = """
import importlib.util, sys
root, *used = sys.argv[1:]
found = importlib.util.find_spec("search")
alone = found is not None and found.origin == root + "/search/__init__.py"
if not alone:
    sys.path.insert(0, root)
from search.shadows import foreign
print(alone)
print(foreign(frozenset(used)) or "")
"""


def _path() -> list[str]:
    """The folder of our packages, if a worker on this machine would not find it by itself.

    Raises InvalidRequest if it would find others' modules in place of those that we need.
    """
    # Only a fresh Python without the current folder can tell: this one's path may be another.
    root = str(Path(shadows.__file__).parents[1])
    asked = [sys.executable, "-P", "-c", _AS_A_WORKER, root, *standard()]
    done = subprocess.run(asked, cwd="/", capture_output=True, text=True, check=False)
    alone, _, wrong = done.stdout.strip().partition("\n")
    if wrong:
        raise InvalidRequest(wrong)
    return [] if alone == "True" else [root]


def standard() -> list[str]:
    """The modules of Python's own that are in use here, as they will be in workers."""
    return sorted(sys.stdlib_module_names & set(sys.modules))


def _folder() -> str:
    """For Ray's files and sockets: its own, or one whose path is short enough.

    Raises InvalidRequest if none can be used.
    """
    from ray._common.utils import get_default_ray_temp_dir

    wanted = os.path.abspath(os.path.expanduser(get_default_ray_temp_dir()))
    for folder in (wanted, "/tmp/ray", f"/tmp/ray-{os.getuid()}"):
        if len(os.fsencode(folder)) <= LONGEST and _writable(Path(folder)):
            return folder
    raise InvalidRequest(
        f"Ray can use neither {wanted} nor /tmp/ray for its files: set RAY_TMPDIR to a folder that "
        f"can be written, with a path of at most {LONGEST - len('/ray')} characters"
    )


def _writable(folder: Path) -> bool:
    from ray._common.utils import try_to_create_directory

    try:
        try_to_create_directory(str(folder))
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _look_for(address: str) -> None:
    """Ask whether Ray is at this address. Ray itself asks for half a minute and more, and tells
    about it on the error stream.

    Raises InvalidRequest if not.
    """
    import grpc
    from ray._private import services

    if address.startswith("ray://"):
        raise InvalidRequest(
            "a study is driven from inside its cluster, so that it outlives this machine's "
            "connection: `forgetune submit` sends it there"
        )
    host, _, port = address.rpartition(":")
    known = host and "/" not in host and port.isdecimal() and 0 < int(port) < 1 << 16
    if address != "auto" and not known:
        raise InvalidRequest(f"no Ray cluster at {address!r}: {WHAT_TO_GIVE}")
    try:
        place = services.canonicalize_bootstrap_address(address)
    except (ConnectionError, OSError, ValueError) as error:
        raise InvalidRequest(f"no Ray cluster at {address}: {_line(error)}") from None
    if place is None or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return
    with grpc.insecure_channel(place, (("grpc.enable_http_proxy", 0),)) as channel:
        alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            alive(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return  # it is there; what it asks for Ray says
            raise InvalidRequest(
                f"no Ray cluster at {address}: nothing answers there as Ray does; {WHAT_TO_GIVE}"
            ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
