"""The names of files that users' caches hold: what they have built is found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from trainables.artifacts.store import key_of
from trainables.models import catalogue
from trainables.scenario import NO_DATASET, Inversion, Places, Scenario
from trainables.workbench import Workbench

WEIGHTS, HELD_OUT = "base.safetensors", "held-out.txt"

KEYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "as it comes": (
        {},
        {
            "base": "base-89efd77daf2c5e1234ce",
            "retrained": "retrained-f6d92d05492972651474",
            "reference": "reference-06bbc21b162f37697938",
            "relearning": "relearning-a765c418818a1df9d4fb",
            "log": "log-70d0a3702b626a002f9c",
            "gan 0": "dcgan-2157a2f2002590691688",
            "gan 9": "dcgan-02042f37f4c25a008ead",
            "inverted generator 0": "kegnet-5f33ad5f8d5dde93f9a1",
            "inverted generator 4": "kegnet-4614798c5ee096bf100f",
            "hold-out generator 0": "kegnet-6041898d0775216903de",
            "hold-out generator 1": "kegnet-ce958cda9a8ea9a5a411",
        },
    ),
    "wgan-gp": (
        {"gan": "wgan-gp"},
        {
            "gan 0": "wgan-gp-d85a41b3640336c98484",
            "gan 9": "wgan-gp-d0bf70fba2c7d921214b",
        },
    ),
    "cgan": (
        {"gan": "cgan"},
        {
            "gan all": "cgan-9a6d4034241625d2ee6e",
        },
    ),
    "no statistics": (
        {"inversion": Inversion(bn_weight=0.0)},
        {
            "inverted generator 0": "kegnet-cabe0a4c0b6c7e583f6b",
            "hold-out generator 1": "kegnet-d6bd244664565bd9266b",
        },
    ),
    "few-shot": (
        {"inversion": Inversion(few_shot=3, few_shot_weight=2.0)},
        {
            "inverted generator 0": "kegnet-af6d67528ed9aeb938dc",
            "hold-out generator 1": "kegnet-8ebf7de2e0ec25bc2807",
        },
    ),
    "relearning": (
        {
            "anamnesis_alpha": 0.1,
            "anamnesis_batch_size": 64,
            "anamnesis_epochs": 3,
            "evaluation_seed": 2,
        },
        {
            "base": "base-89efd77daf2c5e1234ce",
            "retrained": "retrained-f6d92d05492972651474",
            "reference": "reference-5b91e421fea547a016b5",
            "relearning": "relearning-2ba00745ea073cd5d234",
        },
    ),
    "another model": (
        {
            "model": "resnet9",
            "width": 0.5,
            "epochs": 7,
            "learning_rate": 2e-3,
            "batch_size": 33,
            "seed": 5,
            "forget": (1, 2),
        },
        {
            "base": "base-4f1cd9a7364d07bf4dff",
            "retrained": "retrained-2743948ff855b81db4a1",
            "reference": "reference-6f6c09ec9c1194607922",
            "relearning": "relearning-18c1bd8b13e37f7af545",
            "log": "log-1c14dca1f51edd16790f",
            "gan 0": "dcgan-1cfd8d07afe1461796b0",
            "inverted generator 0": "kegnet-bc2c2988b1b18957c5eb",
        },
    ),
    "wide gans": (
        {"gan_steps": 9, "gan_width": 0.5},
        {
            "gan 0": "dcgan-0ad0566200f85b508b23",
        },
    ),
    "validation from test": (
        {"validation_from": "test"},
        {
            "base": "base-271613acfd81991c8c8e",
            "retrained": "retrained-7535a1c5a0a1a05b3fc8",
            "reference": "reference-69ba83612dbb499f9465",
            "relearning": "relearning-13c1e72991c35036f620",
            "log": "log-8fd30e8e412f88cc3b7a",
            "gan 0": "dcgan-cb79e8512ad4038819a8",
            "inverted generator 0": "kegnet-a2fe146d4c4be9190890",
        },
    ),
    "held out": (
        {"held_out": HELD_OUT},
        {
            "base": "base-47deafdadb8c65455f23",
            "retrained": "retrained-571857cba8686d70987a",
            "reference": "reference-e9c515a96f4c07eb058f",
            "relearning": "relearning-51f7222a77ed5cd6196b",
            "log": "log-293bbb41054243c3cc51",
            "gan 0": "dcgan-9b6b5df54d3f5dad4665",
            "inverted generator 0": "kegnet-bb9b352bee8911c28c55",
        },
    ),
    "weights": (
        {"weights": WEIGHTS},
        {
            "base": "base-1540ccdaf119d9ae9e3f",
            "retrained": "retrained-7535a1c5a0a1a05b3fc8",
            "reference": "reference-ba62db72d6aea3592be5",
            "relearning": "relearning-7949459798584bced01f",
            "gan 0": "dcgan-af95be37b79d1ba076ba",
            "inverted generator 0": "kegnet-b29f51aa54da4ed6d355",
        },
    ),
    "weights held out": (
        {"weights": WEIGHTS, "held_out": HELD_OUT},
        {
            "base": "base-1540ccdaf119d9ae9e3f",
            "retrained": "retrained-571857cba8686d70987a",
            "reference": "reference-44d197fce1b2666d37c0",
            "relearning": "relearning-358360e5e53bb291d636",
            "gan 0": "dcgan-17d1a2db0bdd8c35ed52",
            "inverted generator 0": "kegnet-b29f51aa54da4ed6d355",
        },
    ),
    "weights alone": (
        {"weights": WEIGHTS, "dataset": NO_DATASET, "image_shape": (1, 8, 8), "num_classes": 10},
        {
            "base": "base-1540ccdaf119d9ae9e3f",
            "inverted generator 0": "kegnet-b29f51aa54da4ed6d355",
            "hold-out generator 0": "kegnet-b321b554bb8a32fa2b9b",
        },
    ),
}
"""Changes of a scenario -> name of an artifact -> what its files are called.

One that changes throws away what people have built: then the CHANGELOG says why."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model of ones and a list of what was held out."""
    state = catalogue.build("allcnn", (1, 8, 8), 10, 0.25, seed=0).state_dict()
    ones = {name: torch.ones_like(value) for name, value in state.items()}
    save_file(ones, tmp_path / WEIGHTS)
    (tmp_path / HELD_OUT).write_text("".join(f"{index}\n" for index in range(0, 1200, 7)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("title", KEYS)
def test_files_are_called_what_they_were(folder: Path, title: str) -> None:
    change, expected = KEYS[title]
    places = Places(data=folder, artifacts=folder)
    bench = Workbench(replace(Scenario(), **change), places, torch.device("cpu"))
    found = {}
    for name in expected:
        kind, description = bench.shelf.describe(name)
        found[name] = f"{kind}-{key_of(description)}"
    assert found == expected
