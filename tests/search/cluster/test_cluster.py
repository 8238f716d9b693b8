"""Checks of launcher files: ours pass, and every mistake is told in one line, offline."""

from __future__ import annotations

import re
import socket
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from search.cluster import Finding, check, render, software
from tests.search.toys import REPOSITORY, only_line
from trainables.errors import InvalidRequest

OURS = REPOSITORY / "cluster.yaml"
EXAMPLES = REPOSITORY / "examples/cluster"
LAB = EXAMPLES / "on-premises.yaml"

TOKEN = "0123456789abcdef" * 4
BUCKET = ("s3://bucket/results", "s3://bucket/artifacts")

Config = dict[str, Any]
Change = Callable[[Config], object]


@pytest.fixture(autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a token and a key, the versions that our files pin, and no network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a check is offline")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    home = tmp_path_factory.mktemp("home")
    for name in (".ray/auth_token", ".ssh/forgetune"):
        (home / name).parent.mkdir()
        (home / name).write_text(TOKEN)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(software, "versions_here", lambda: ("2.60.0", "3.11"))


def ready() -> Config:
    """Our cluster.yaml as it is when its gaps have been filled in."""
    config: Config = yaml.safe_load(OURS.read_text())
    for kind in config["available_node_types"].values():
        kind["node_config"]["ImageId"] = "ami-0123456789abcdef0"
    config["available_node_types"]["gpu"]["node_config"]["IamInstanceProfile"] = {"Name": "us"}
    return config


def lab() -> Config:
    """Our on-premises.yaml, with a disk that all machines share."""
    config: Config = yaml.safe_load(LAB.read_text())
    config["setup_commands"].append("sudo mount -t nfs server:/export /nfs")
    return config


def put(place: str, value: Any) -> Change:
    """A change that sets what is at a place like `docker head_image`."""
    *way, last = place.split()

    def change(config: Config) -> None:
        for part in way:
            config = config[part]
        config[last] = value

    return change


def drop(place: str) -> Change:
    """A change that takes away what is at a place."""
    *way, last = place.split()

    def change(config: Config) -> None:
        for part in way:
            config = config[part]
        del config[last]

    return change


def reword(key: str, old: str, new: str) -> Change:
    """A change of command lines."""

    def change(config: Config) -> None:
        before = config[key]
        config[key] = [line.replace(old, new) for line in before]
        assert config[key] != before

    return change


def both(*changes: Change) -> Change:
    def change(config: Config) -> None:
        for each in changes:
            each(config)

    return change


GPU = "available_node_types gpu"
HEAD = "available_node_types head"
NO_SHELL_TOKEN = put("docker run_options", ["--ulimit nofile=65536:65536"])
HEAD_WITHOUT_TOKEN = reword("head_start_ray_commands", "RAY_AUTH_MODE=token ", "")
WORKER_WITHOUT_TOKEN = reword("worker_start_ray_commands", "RAY_AUTH_MODE=token ", "")
WITHOUT_TOKEN = both(NO_SHELL_TOKEN, HEAD_WITHOUT_TOKEN, WORKER_WITHOUT_TOKEN)


def checked(
    folder: Path, config: Config, places: tuple[str | None, str | None] = BUCKET
) -> list[Finding]:
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    return check(path, *places)


def complaints(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


def after(change: Change, folder: Path, config: Config | None = None) -> list[Finding]:
    """What is wrong with our file after a change."""
    config = ready() if config is None else config
    change(config)
    return complaints(checked(folder, config))


def test_our_cluster_file_lacks_only_what_the_user_must_choose() -> None:
    found = complaints(check(OURS))
    assert {finding.level for finding in found} == {"warning"}
    assert [re.split("[:,]", finding.text)[0] for finding in found] == [
        "gpu",  # the image of the region
        "without --results",
        "without --artifacts",
    ]


def test_our_cluster_file_is_right_when_its_gaps_are_filled_in(tmp_path: Path) -> None:
    findings = checked(tmp_path, ready())
    assert complaints(findings) == []
    assert "ok:      gpu: 0 to 8 machines of 8 CPUs and 1 GPU" in render(findings)
    assert "ok:      artifacts: s3://bucket/artifacts" in render(findings)


def test_our_file_for_machines_of_ones_own_is_right(tmp_path: Path) -> None:
    assert complaints(checked(tmp_path, lab(), ("/nfs/results", "/nfs/artifacts"))) == []


def test_our_files_pin_one_version_of_ray_that_we_allow() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    allowed = [Requirement(text) for text in project["dependencies"] if text.startswith("ray")]
    pattern = r"(?:rayproject/ray:|\]==|ray==|rayVersion: \")(\d+\.\d+\.\d+)"
    files = [OURS, *sorted(EXAMPLES.iterdir()), REPOSITORY / "docs/cluster.md"]
    found = {pin for file in files for pin in re.findall(pattern, file.read_text())}
    assert len(found) == 1
    assert allowed[0].specifier.contains(found.pop())


def test_what_is_here_is_known_without_starting_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert software.versions_here()[0] == ray.__version__
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(f"{GPU} min_worker", 0), "'min_worker'; did you mean 'min_workers'?"),
        (put("max_worker", 8), "unknown key 'max_worker'; did you mean 'max_workers'?"),
        (put("docker imag", "x"), "unknown key of docker 'imag'; did you mean 'image'?"),
        (
            put(f"{GPU} resources GPU", 0.5),
            "GPU is 0.5, but must be a whole number; to put several",
        ),
        (put("max_workers", "eight"), "max_workers is 'eight', but must be a whole number"),
        (
            put("setup_commands", [{"echo a": "b"}]),
            "setup_commands[0] is {'echo a': 'b'}, but must",
        ),
        (put("idle_timeout_minutes", -1), "idle_timeout_minutes is -1, but must be at least 0"),
        (put("docker", None), "docker is None, but must be a mapping"),
        (drop(f"{GPU} node_config"), "available_node_types.gpu.node_config is missing"),
        (drop("cluster_name"), "cluster_name is missing"),
        (put("head_node_type", "haed"), "Ray refuses it: `head_node_type` must be one of"),
        (put(f"{GPU} min_workers", 9), "Ray refuses it: The specified global `max_workers` is"),
        (drop("docker worker_image"), "Ray refuses it: Must provide a container & image name"),
        (put("provider type", "asw"), "unknown provider.type 'asw'; did you mean 'aws'?"),
        (put("head_node", {}), "head_node is of Ray 1 and refused: available_node_types"),
    ],
)
def test_what_ray_would_refuse_is_told_in_words(tmp_path: Path, change: Change, text: str) -> None:
    (finding,) = after(change, tmp_path)
    assert finding.level == "error"
    assert text in only_line(finding.text)


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    found = after(both(put("max_worker", 1), put("setup_command", [])), tmp_path)
    assert len(found) == 2


def test_node_types_on_machines_of_ones_own_are_refused_with_the_reason(tmp_path: Path) -> None:
    change = put("available_node_types", {"a": {"resources": {}, "node_config": {}}})
    (finding,) = after(change, tmp_path, lab())
    assert finding.level == "error"
    assert "available_node_types is refused by Ray for provider local" in finding.text


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        # Ray
        (
            put("docker head_image", "rayproject/ray:2.59.0-py311-cpu"),
            "error",
            "image rayproject/ray:2.59.0-py311-cpu has Ray 2.59.0, not the 2.60.0",
        ),
        (
            put("docker worker_image", "rayproject/ray:latest-py311-gpu"),
            "error",
            "names no version of Ray",
        ),
        (reword("setup_commands", "==2.60.0", ">=2.60"), "error", "pins no version of Ray"),
        (reword("setup_commands", "==2.60.0", ""), "error", "pins no version of Ray"),
        (
            reword("setup_commands", "==2.60.0", "==2.59.1"),
            "error",
            "of Ray 2.59.1, not the 2.60.0",
        ),
        (
            put("head_setup_commands", ["pip install https://x/ray-2.59.0-cp311-cp311-linux.whl"]),
            "error",
            "of Ray 2.59.0, not the 2.60.0",
        ),
        # Python
        (
            put("docker worker_image", "rayproject/ray:2.60.0-py312-gpu"),
            "error",
            "is Python 3.12, not the 3.11 that runs here",
        ),
        (
            put("docker worker_image", "rayproject/ray:2.60.0-gpu"),
            "error",
            "names no Python; take a tag with -py311",
        ),
        (
            put("head_setup_commands", ["conda create -n study python=3.12"]),
            "error",
            "python3.12 is Python 3.12, not the 3.11",
        ),
        (
            put("docker worker_image", "registry.example.com/ours:1"),
            "warning",
            "which Python is in image registry.example.com/ours:1 cannot be told",
        ),
        # forgetune
        (
            put("setup_commands", ["pip install ray==2.60.0"]),
            "error",
            "nothing installs forgetune on the head, gpu",
        ),
        (
            put(f"{GPU} worker_setup_commands", ["pip install ray==2.60.0"]),
            "error",
            "nothing installs forgetune on gpu",
        ),
        (
            reword("setup_commands", "/home/ray/forgetune", "/opt/forgetune"),
            "error",
            "`pip install /opt/forgetune`: nothing in file_mounts puts it there",
        ),
        # Who gets in
        (WITHOUT_TOKEN, "error", "without RAY_AUTH_MODE=token on the head, gpu:"),
        (both(NO_SHELL_TOKEN, HEAD_WITHOUT_TOKEN), "error", "RAY_AUTH_MODE=token on the head:"),
        (both(NO_SHELL_TOKEN, WORKER_WITHOUT_TOKEN), "error", "RAY_AUTH_MODE=token on gpu:"),
        (
            reword("worker_start_ray_commands", "MODE=token", "MODE=disabled"),
            "error",
            "RAY_AUTH_MODE=token on gpu:",
        ),
        (
            # Outside the container, where Ray does not run.
            both(
                WITHOUT_TOKEN,
                put("initialization_commands", ["echo export RAY_AUTH_MODE=token >> ~/.bashrc"]),
            ),
            "error",
            "RAY_AUTH_MODE=token on the head, gpu:",
        ),
        (drop("file_mounts /home/ray/.ray/auth_token"), "error", "no token gets to the nodes"),
        (
            both(
                drop("file_mounts /home/ray/.ray/auth_token"),
                put("file_mounts", {"/home/ubuntu/.ray/auth_token": "~/.ray/auth_token"}),
                put("setup_commands", ["pip install ray==2.60.0 forgetune==0.1.0"]),
            ),
            "error",
            "lands in /home/ubuntu/.ray/auth_token, but Ray looks for it in /home/ray/.ray",
        ),
        (
            reword("head_start_ray_commands", "127.0.0.1", "0.0.0.0"),
            "error",
            "the dashboard answers on 0.0.0.0, where others reach it",
        ),
        (drop("head_start_ray_commands"), "error", "0.0.0.0 (Ray's own head_start_ray_commands)"),
        (
            put(
                "provider security_group",
                {
                    "GroupName": "open",
                    "IpPermissions": [
                        {"FromPort": 8000, "ToPort": 9000, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
                        {"FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
                    ],
                },
            ),
            "error",
            "provider.security_group opens 8265 to the world",
        ),
        # Machines
        (drop("provider region"), "error", "provider.region is missing"),
        (drop("auth ssh_user"), "error", "auth.ssh_user is missing"),
        (put(f"{HEAD} resources CPU", 4), "warning", "the head has CPUs: trials would run"),
        (put(f"{HEAD} resources", {}), "warning", "or Ray fills in what the instance has"),
        (put(f"{HEAD} resources GPU", 1), "warning", "the head has a GPU, which no trial can use"),
        (put(f"{GPU} max_workers", 0), "error", "max_workers is 0: no machine could run trials"),
        (put("max_workers", 0), "error", "max_workers is 0: no machine could run trials"),
        (
            both(put(f"{GPU} min_workers", 3), put(f"{GPU} max_workers", 2)),
            "error",
            "gpu: min_workers is 3, but max_workers is 2",
        ),
        (put("max_workers", 4), "warning", "gpu: max_workers is 8, but 4 for the whole cluster"),
        (put("min_workers", 1), "warning", "min_workers is ignored by Ray out here"),
        (put(f"{GPU} resources CPU", 0), "error", "gpu has no CPU, and every trial needs one"),
        (put(f"{GPU} resources GPU", 0), "error", "gpu has GPUs, but says none in its resources"),
        (
            put(f"{GPU} node_config InstanceType", "m7i.xlarge"),
            "error",
            "gpu says GPU: 1, but an instance m7i.xlarge has none",
        ),
        (
            put("docker worker_image", "rayproject/ray:2.60.0-py311-cpu"),
            "error",
            "gpu has GPUs, but image rayproject/ray:2.60.0-py311-cpu is for CPUs",
        ),
        (drop(f"{GPU} node_config ImageId"), "warning", "gpu has no ImageId"),
        (put("idle_timeout_minutes", 0), "error", "idle_timeout_minutes is 0: machines would go"),
        (put("idle_timeout_minutes", 1.5), "warning", "idle_timeout_minutes is 1.5 minutes"),
        (drop("idle_timeout_minutes"), "warning", "idle_timeout_minutes is not given"),
        (put(f"{GPU} idle_timeout_s", 30), "warning", "gpu: idle_timeout_s is 0.5 minutes"),
        # How Ray is started
        (reword("head_start_ray_commands", "--head", ""), "error", "`ray start` needs --head"),
        (
            reword(
                "head_start_ray_commands", "--autoscaling-config=~/ray_bootstrap_config.yaml", ""
            ),
            "error",
            "without --autoscaling-config=~/ray_bootstrap_config.yaml no worker",
        ),
        (
            reword("head_start_ray_commands", "--num-cpus", "--num-cpu"),
            "error",
            "unknown option of ray start '--num-cpu'; did you mean '--num-cpus'?",
        ),
        (reword("head_start_ray_commands", "--head", "--head --block"), "error", "waits for ever"),
        (
            reword("worker_start_ray_commands", "$RAY_HEAD_IP", "10.0.0.1"),
            "error",
            "needs --address=$RAY_HEAD_IP:6379",
        ),
        (
            reword("worker_start_ray_commands", ":6379", ":6380"),
            "error",
            "look for the head at $RAY_HEAD_IP:6380, but it listens on port 6379",
        ),
        (put("worker_start_ray_commands", ["ray stop"]), "error", "has no `ray start`"),
        # What is copied
        (put("file_mounts /data", "~/nothing"), "warning", "~/nothing is to be copied from here"),
    ],
)
def test_one_mistake_makes_one_finding(
    tmp_path: Path, change: Change, level: str, text: str
) -> None:
    found = after(change, tmp_path)
    assert [finding.level for finding in found] == [level], render(found)
    assert text in only_line(found[0].text)


@pytest.mark.parametrize(
    "change",
    [
        both(NO_SHELL_TOKEN),
        both(HEAD_WITHOUT_TOKEN, WORKER_WITHOUT_TOKEN),  # docker run has it
        both(
            WITHOUT_TOKEN,
            reword("head_start_ray_commands", "ulimit", "export RAY_AUTH_MODE=token; ulimit"),
            reword("worker_start_ray_commands", "ulimit", "export RAY_AUTH_MODE=token && ulimit"),
        ),
        both(
            WITHOUT_TOKEN,
            put("head_setup_commands", ["echo 'export RAY_AUTH_MODE=token' >> ~/.bashrc"]),
            put("worker_setup_commands", ["echo 'export RAY_AUTH_MODE=token' >> ~/.profile"]),
        ),
        both(
            reword("head_start_ray_commands", "RAY_AUTH_MODE=token ", "env "),
            put("docker head_run_options", ["--env=RAY_AUTH_MODE=token"]),
        ),
        reword("worker_start_ray_commands", "ray start", "conda run -n study ray start"),
        put(
            "worker_start_ray_commands",
            ["bash -lc 'RAY_AUTH_MODE=token ray start --address=${RAY_HEAD_IP}:6379'"],
        ),
        reword("setup_commands", "pip install", "uv pip install --system"),
        put(
            "setup_commands",
            ["pip install \\\n  ray==2.60.0 \\\n  /home/ray/forgetune\nray stop\n"],
        ),
        put("docker worker_image", "rayproject/ray:2.60.0-py311-cu128"),
        put(f"{GPU} resources", {}),  # which Ray fills in on AWS
        put(f"{HEAD} resources", {"CPU": 0}),
    ],
)
def test_other_ways_to_say_the_same_are_understood(tmp_path: Path, change: Change) -> None:
    assert after(change, tmp_path) == []


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        (
            reword("head_start_ray_commands", "--num-cpus=0 --num-gpus=0", ""),
            "warning",
            "one too large ends the study; give its `ray start` --num-cpus=0",
        ),
        (
            reword("head_start_ray_commands", "RAY_enable_autoscaler_v2=0", ""),
            "error",
            "version 2 of Ray's autoscaler starts no workers for provider local",
        ),
        (put("min_workers", 0), "error", "min_workers is 0 of 2 machines: Ray starts no others"),
        (put("min_workers", 1), "warning", "min_workers is 1 of 2 machines: Ray starts no others"),
        (put("provider worker_ips", []), "error", "provider.worker_ips is empty: no machine could"),
        (drop("provider head_ip"), "error", "Ray refuses it: Please supply a `head_ip`"),
        (put("auth ssh_private_key", "~/.ssh/lost"), "warning", "~/.ssh/lost is to be copied"),
        (
            put("file_mounts", {"/root/.ray/auth_token": "~/.ray/auth_token", "~/forgetune": "."}),
            "error",
            "lands in /root/.ray/auth_token, but Ray looks for it in /home/ubuntu/.ray/auth_token",
        ),
    ],
)
def test_one_mistake_on_machines_of_ones_own_makes_one_finding(
    tmp_path: Path, change: Change, level: str, text: str
) -> None:
    config = lab()
    change(config)
    found = complaints(checked(tmp_path, config, ("/nfs/results", "/nfs/artifacts")))
    found = [finding for finding in found if "rsync_exclude says" not in finding.text]
    assert [finding.level for finding in found] == [level], render(found)
    assert text in only_line(found[0].text)


def test_machines_prepared_by_hand_cannot_be_seen_into(tmp_path: Path) -> None:
    config = lab()
    put("setup_commands", ["mount -t nfs server:/export /nfs"])(config)
    found = complaints(checked(tmp_path, config, ("/nfs/results", "/nfs/artifacts")))
    assert {finding.level for finding in found} == {"warning"}
    assert {finding.text.split(" ")[0] for finding in found} == {"which", "no"}


def test_where_ray_does_not_look_the_file_must_say_what_a_machine_has(tmp_path: Path) -> None:
    config = ready()
    place = {"type": "gcp", "region": "us-west1", "availability_zone": "us-west1-a"}
    config["provider"] = {**place, "project_id": None}
    config["available_node_types"]["gpu"]["resources"] = {}
    config["available_node_types"]["gpu"]["node_config"] = {
        "machineType": "g2-standard-8",
        "guestAccelerators": [{"acceleratorType": "nvidia-l4", "acceleratorCount": 1}],
        "serviceAccounts": [{"email": "study@example.com"}],
    }
    found = complaints(checked(tmp_path, config, ("gs://bucket/results", "gs://bucket/artifacts")))
    assert [finding.level for finding in found] == ["error", "error"]
    assert "say resources: {CPU: ...}" in found[0].text
    assert "{GPU: 1}" in found[1].text


def test_what_ray_would_install_where_the_file_says_nothing_is_checked(tmp_path: Path) -> None:
    found = after(drop("setup_commands"), tmp_path)
    assert any("of Ray 3.0.0.dev0 (Ray's setup_commands), not" in each.text for each in found)


def test_what_makes_ray_read_gigabytes_is_told(tmp_path: Path) -> None:
    (tmp_path / "tree/.venv").mkdir(parents=True)
    (finding,) = after(put("file_mounts /tree", str(tmp_path / "tree")), tmp_path)
    assert "contains .venv, and Ray reads it all" in finding.text


@pytest.mark.parametrize(
    ("place", "level", "text"),
    [
        ("results", "warning", "results is on the head's own disk and goes with it"),
        ("~/results", "warning", "~/results is on the head's own disk and goes with it"),
        ("/data/results", "warning", "nothing mounts /data/results on the head, gpu"),
        ("file:///data/results", "warning", "nothing mounts /data/results on the head, gpu"),
        ("s3:/bucket/results", "error", "s3: wants two slashes after it, s3://BUCKET/FOLDER"),
        ("hdsf://host/results", "error", "unknown scheme 'hdsf'; did you mean 'hdfs'?"),
        ("s3:///results", "error", "s3:///results names no bucket"),
        ("s3://Bucket_1/results", "error", "s3://Bucket_1/results names no bucket"),
        ("s3://us:verysecret@bucket/x", "warning", "keys stand in the URI s3://bucket/x"),
        ("gs://bucket/results", "warning", "the head, gpu the right to use gs://bucket/results"),
    ],
)
def test_a_place_that_nodes_cannot_get_at_is_told(
    tmp_path: Path, place: str, level: str, text: str
) -> None:
    (finding,) = complaints(checked(tmp_path, ready(), (place, BUCKET[1])))
    assert finding.level == level
    assert finding.text.startswith("results: ")
    assert text in only_line(finding.text)
    assert "verysecret" not in finding.text


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (put("docker run_options", ["-e RAY_AUTH_MODE=token", "-v /nfs:/shared"]), "/shared/a"),
        (
            put(
                "docker run_options",
                ["-e RAY_AUTH_MODE=token --mount type=bind,source=/nfs,target=/shared"],
            ),
            "/shared",
        ),
        (put("docker run_options", ["-e RAY_AUTH_MODE=token -e AWS_PROFILE=us"]), "s3://bucket/a"),
        (put("file_mounts ~/.aws", "~/.ray"), "s3://bucket/a"),
        (put("file_mounts ~/.config/gcloud", "~/.ray"), "gs://bucket/a"),
    ],
)
def test_shared_disks_and_credentials_are_seen(tmp_path: Path, change: Change, place: str) -> None:
    config = ready()
    if place.startswith("s3"):
        drop(f"{GPU} node_config IamInstanceProfile")(config)
    change(config)
    assert complaints(checked(tmp_path, config, (place, place))) == []


def test_a_role_is_missed_where_artifacts_lie_in_a_bucket(tmp_path: Path) -> None:
    config = ready()
    drop(f"{GPU} node_config IamInstanceProfile")(config)
    (finding,) = complaints(checked(tmp_path, config, ("s3://bucket/r", BUCKET[1])))[:1]
    assert finding.text == (
        "results: nothing gives gpu the right to use s3://bucket/r: add IamInstanceProfile to "
        "node_config"
    )


@pytest.mark.parametrize(
    "line",
    [
        "RAY_AUTH_TOKEN=hunter2hunter2 ray start --address=$RAY_HEAD_IP:6379",
        f"echo {TOKEN} > ~/.ray/auth_token; ray start --address=$RAY_HEAD_IP:6379",
        "export AWS_SECRET_ACCESS_KEY='hunter2hunter2'; ray start --address=$RAY_HEAD_IP:6379",
    ],
)
@pytest.mark.parametrize("break_it", [False, True])
def test_a_secret_in_the_file_is_an_error_and_never_shown(
    tmp_path: Path, line: str, break_it: bool
) -> None:
    config = ready()
    config["worker_start_ray_commands"] = line if break_it else [line]
    findings = checked(tmp_path, config)
    errors = [finding.text for finding in findings if finding.level == "error"]
    assert any(re.match(r"line \d+: .*stands in the file", text) for text in errors)
    for hidden in ("hunter2", TOKEN):
        assert hidden not in str(findings)


def test_a_token_that_is_read_elsewhere_is_no_secret(tmp_path: Path) -> None:
    line = (
        'RAY_AUTH_TOKEN="$(cat /token)" RAY_AUTH_MODE=token ray start --address=$RAY_HEAD_IP:6379'
    )
    assert after(put("worker_start_ray_commands", [line]), tmp_path) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "not a launcher file"),
        ("- a\n- b\n", "not a launcher file"),
        ("a: b\n---\nc: d\n", "not a launcher file"),
        (f"a: {TOKEN}: x\n", "line 1: not valid YAML"),
        ("a: b\nc: [1, 2\n", "line 3: not valid YAML"),
        ("a: 2026-13-45\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("apiVersion: ray.io/v1\nkind: RayCluster\n", "this is for Kubernetes"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
    tmp_path: Path, content: str, text: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(content)
    with pytest.raises(InvalidRequest) as caught:
        check(path)
    assert text in only_line(str(caught.value))
    assert TOKEN not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InvalidRequest) as caught:
            check(path)
        assert only_line(str(caught.value)).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {}']",
        "!!python/object/new:subprocess.check_call [['touch', '{}']]",
        "!!python/name:os.system",
        "!run 'touch {}'",
    ],
)
def test_hostile_yaml_is_refused_and_not_run(tmp_path: Path, tag: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "cluster.yaml"
    path.write_text("cluster_name: " + tag.format(mark))
    with pytest.raises(InvalidRequest, match="line 1: not valid YAML"):
        check(path)
    assert not mark.exists()


def test_a_file_that_refers_to_itself_is_checked_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(OURS.read_text() + "\nmetadata: &a {a: *a}\n")
    assert "error" not in {finding.level for finding in check(path)}
    path.write_text(OURS.read_text() + "\ncluster_synced_files: &b {b: *b}\n")
    assert "error" in {finding.level for finding in check(path)}


PLACES = [
    *("cluster_name", "max_workers", "provider", "provider region", "auth", "auth ssh_user"),
    *("docker", "docker head_image", "docker run_options", "head_node_type", "file_mounts"),
    *(HEAD, f"{HEAD} resources", f"{HEAD} node_config", f"{GPU} node_config InstanceType"),
    *(f"{GPU} min_workers", f"{GPU} max_workers", f"{GPU} idle_timeout_s", f"{GPU} docker"),
    *("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
    *("provider security_group", "available_node_types", "initialization_commands"),
]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 10**6),
        st.floats(allow_nan=False),
        st.text(max_size=12),
        st.sampled_from(["ray start --head", "pip install 'ray", "$RAY_HEAD_IP", "0.0.0.0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["IpPermissions", "CPU", "GPU", "a", "resources", "node_config"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)


@given(place=st.sampled_from(PLACES), value=VALUES)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_stands_in_the_file_the_answer_is_lines(
    tmp_path: Path, place: str, value: Any
) -> None:
    config = ready()
    put(place, value)(config)
    for line in render(checked(tmp_path, config)):
        assert line.isprintable()
        assert line.startswith(("error:", "warning:", "ok:"))


def test_errors_come_first() -> None:
    findings = [Finding("ok", "c"), Finding("warning", "b"), Finding("error", "a")]
    assert render(findings) == ["error:   a", "warning: b", "ok:      c"]


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = lab()
    config["max_workers"] = 1  # of which Ray would warn
    checked(tmp_path, config)
    after(drop("docker worker_image"), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_our_job_for_kubernetes_has_what_a_study_needs() -> None:
    volume, job = yaml.safe_load_all((EXAMPLES / "rayjob.yaml").read_text())
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert spec["entrypoint"].startswith("forgetune run /study/study.toml --address auto")
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert head["template"]["spec"]["restartPolicy"] == "Never"  # SidecarMode wants it
    (group,) = cluster["workerGroupSpecs"]
    pods = [part["template"]["spec"] for part in (head, group)]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts == {each["name"] for each in pod["volumes"]}
        claims = [
            each["persistentVolumeClaim"] for each in pod["volumes"] if "study" not in each["name"]
        ]
        assert claims == [{"claimName": volume["metadata"]["name"]}]
    assert group["minReplicas"] == 0
    assert (
        group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    )


def test_our_script_for_slurm_is_bash_with_options_that_ray_has() -> None:
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import symmetric_run

    path = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert "export RAY_AUTH_MODE=token" in text
    assert "--exclusive" in text
    before = text.partition("ray symmetric-run")[2].partition("\n    -- ")[0]
    known = {
        option for command in (start, symmetric_run) for p in command.params for option in p.opts
    }
    given_options = set(re.findall(r"(--[a-z-]+)", before))
    assert {"--address", "--min-nodes"} <= given_options <= known


def test_the_commands_of_the_page_about_clusters_are_bash() -> None:
    text = (REPOSITORY / "docs/cluster.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    for path in re.findall(r"examples/[\w./-]+", text):
        assert (REPOSITORY / path).is_file()
