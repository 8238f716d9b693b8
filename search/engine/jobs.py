"""Sending a command to a Ray cluster as a job, and following it (Ray's Jobs API)."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.artifacts.remote import is_uri
from trainables.data.sources import SOURCES
from trainables.errors import InvalidRequest, unknown

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DASHBOARD = "http://127.0.0.1:8265"
"""Where `ray dashboard cluster.yaml` brings a cluster's job server to."""

SENT = ("run", "prepare", "compare", "sensitivity", "classes")
"""Commands that can be jobs: those that run trials."""

TAKE_A_FILE = ("run", "prepare")
"""Those whose argument is a file; the words after others are methods, or hyperparameters."""

READ = ("--spec", "--dataset", "--weights", "--held-out")
"""Options that files are read by; the words of others mean something else, whatever files are
called."""

ALONE = (
    *("--help", "-h", "--zero-shot", "--paper", "--best-per-class"),
    *("--curves", "--no-curves", "--pool-samples", "--no-pool-samples"),
)
"""Options that no word follows."""

WRITTEN = ("--save", "--output", "--plot", "--preview")
"""Options that say where something is written."""

PAUSES = (1, 2, 4, 8, 16, 30)
"""Seconds between attempts at a cluster whose job server is still starting."""

TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's that tell of every package that is sent."""

FILES = "files"
"""The subfolder of a job's working folder for the files that it names."""

MOST_BYTES = 400_000_000
"""Of the files that go with a job; Ray takes up to 512 MiB."""


class Jobs:
    """The jobs of the cluster behind a dashboard's address.

    Raises InvalidRequest, in one line, if nobody answers there.
    """

    def __init__(self, dashboard: str | None = None) -> None:
        self.dashboard = dashboard or os.environ.get("RAY_API_SERVER_ADDRESS") or DASHBOARD

    def submit(self, arguments: Sequence[str]) -> str:
        """Send a command of `forgetune`; the job's name. The files that it names go with it, and
        so does this code: the cluster's machines need its dependencies alone."""
        check_sendable(arguments)
        client = self._client()
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / FILES
            files.mkdir()
            # Neither by -m nor from the root of the working folder may a file of the user's be
            # imported for one of ours.
            words = ["python", "-P", "-m", "search", *_packed(arguments, files)]
            entrypoint = shlex.join(words)
            name = f"forgetune-{arguments[0]}-{uuid.uuid4().hex[:8]}"
            root = Path(__file__).parents[2]
            modules = [str(root / package) for package in ("search", "trainables", "spaces")]
            what: dict[str, Any] = {
                "entrypoint": entrypoint,
                "submission_id": name,
                "runtime_env": {"working_dir": folder, "py_modules": modules},
            }
            for pause in (*PAUSES, 0):
                try:
                    return str(client.submit_job(**what))
                except RuntimeError as error:
                    if not pause or "No available agent" not in str(error):
                        break
                    time.sleep(pause)
            return str(self._asked(lambda: client.submit_job(**what)))

    def follow(self, name: str, show: Callable[[str], None]) -> str:
        """Show what a job says, from its beginning to its end; its last state, such as SUCCEEDED.

        Raises InvalidRequest if there is no such job.
        """
        client = self._client()
        known = [job.submission_id for job in self._asked(client.list_jobs) if job.submission_id]
        if name not in known:
            raise InvalidRequest(unknown("job", name, known))

        async def tail() -> None:
            async for text in client.tail_job_logs(name):
                show(text)

        self._asked(lambda: asyncio.run(tail()))
        return str(self._asked(lambda: client.get_job_status(name)).value)

    def _client(self) -> JobSubmissionClient:
        from ray.job_submission import JobSubmissionClient

        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        client: JobSubmissionClient = self._asked(lambda: JobSubmissionClient(self.dashboard))
        return client

    def _asked(self, question: Callable[[], Any]) -> Any:
        import ray

        try:
            return question()
        except ray.exceptions.AuthenticationError:
            raise InvalidRequest(
                f"the cluster at {self.dashboard} asks for its token: set RAY_AUTH_MODE=token, and "
                "have the token in ~/.ray/auth_token"
            ) from None
        except (ConnectionError, RuntimeError, OSError, ValueError) as error:
            why = " ".join(str(error).split())[:300]
            raise InvalidRequest(f"the cluster at {self.dashboard} refuses: {why}") from None


def check_sendable(arguments: Sequence[str]) -> None:
    """Raises InvalidRequest for what cannot be a job: other commands, and results that would go
    with the machine that they lie on."""
    if not arguments or arguments[0] not in SENT:
        what = arguments[0] if arguments else ""
        raise InvalidRequest(unknown("command to send", what, SENT))
    if "-" in (*_values(arguments, ""), *_values(arguments, "--spec")):
        raise InvalidRequest(
            "-: a job does not read this machine's standard input; write the specification into a "
            "file, which then goes with it"
        )
    for option, needed in (("--results", arguments[0] != "prepare"), ("--artifacts", False)):
        place = next(reversed(_values(arguments, option)), None)
        if place is None and not needed:
            continue
        if place is None or not (is_uri(place) or place.startswith("/")):
            raise InvalidRequest(
                f"{option}: give a URI (s3://bucket/folder) or the path of a folder that the "
                "cluster's machines share; else what the job writes goes with its machine"
            )
    for option in WRITTEN:
        for place in _values(arguments, option):
            if not place.startswith("/"):
                raise InvalidRequest(
                    f"{option} {place}: give a path, from / on, that the cluster's machines share; "
                    "else what the job writes goes with its machine"
                )


def _options(arguments: Sequence[str]) -> Iterator[str | None]:
    """For each word the option that it gives the value of, as `--width` for `0.5` and for
    `--width=0.5`; "" for an argument, None for a mere option."""
    before, ended = "", False
    for word in arguments:
        option, joined, _ = word.partition("=")
        if before:
            yield before
            before = ""
        elif ended or word == "-" or not word.startswith("-"):
            yield ""
        elif joined:
            yield option
        else:
            yield None
            ended = word == "--"
            before = "" if ended or word in ALONE else word


def _values(arguments: Sequence[str], option: str) -> list[str]:
    """What an option is given, or what the arguments are for ""; the command is the first."""
    found = zip(_options(arguments), arguments, strict=True)
    return [word.removeprefix(f"{option}=") for of, word in found if of == option]


def _names_file(command: str, option: str | None, value: str) -> bool:
    """Whether a command reads what a value names, and that is a file here."""
    if option == "":
        read = command in TAKE_A_FILE
    else:
        read = option in READ and not (option == "--dataset" and value in (*SOURCES, "none"))
    return read and not is_uri(value) and _is_file(Path(value).expanduser())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name can be
        return False


def _packed(arguments: Sequence[str], folder: Path) -> list[str]:
    """The arguments with files by where they are copied to: `folder`, as seen from beside it."""
    packed: list[str] = []
    total = 0
    for option, argument in zip(_options(arguments), arguments, strict=True):
        beginning = f"{option}=" if option and argument.startswith(f"{option}=") else ""
        value = argument.removeprefix(beginning)
        if not packed or not _names_file(arguments[0], option, value):
            packed.append(argument)
            continue
        path = Path(value).expanduser()
        total += path.stat().st_size
        if total > MOST_BYTES:
            raise InvalidRequest(
                f"{value}: the files that go with a job may have {MOST_BYTES // 1_000_000} MB; "
                "put larger ones where the cluster's machines see them"
            )
        target = folder / path.name
        if target.exists():
            target = folder / f"{len(packed)}-{path.name}"
        shutil.copyfile(path, target)
        packed.append(f"{beginning}{folder.name}/{target.name}")
    return packed
