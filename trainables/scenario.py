"""What is to be forgotten, and where things lie. Values only: no torch, no ray."""

from __future__ import annotations

import hashlib
import operator
import os
from dataclasses import dataclass, field
from pathlib import Path

from trainables.errors import InvalidRequest, unknown

VALIDATION_SOURCES = ("training", "test")

NO_DATASET = "none"
"""The dataset of a scenario that has nothing but the weights of its base model."""

MOST_SEED = 2**32 - 1
"""The largest seed. torch's generator for CPUs takes 32 bits and ignores the others, so that a
larger seed would be the same as a smaller one."""

KEGNET_STEPS = 20_000
KEGNET_BATCH_SIZE = 256

THESIS_EPOCHS = 30
THESIS_LEARNING_RATE = 1e-3
THESIS_BATCH_SIZE = 64


def cache_folder() -> Path:
    """The user's cache folder of forgetune (`XDG_CACHE_HOME` is honoured)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "forgetune"


@dataclass(frozen=True)
class Places:
    """Where data and artifacts lie; never part of what a trial *is*.

    `artifacts` is a folder of this machine. Given as a URI, that is `depot`, which machines share,
    and the folder holds what this one has fetched from there.
    """

    data: Path = field(default_factory=lambda: cache_folder() / "data")
    artifacts: Path = field(default_factory=lambda: cache_folder() / "artifacts")
    depot: str | None = None

    def __post_init__(self) -> None:
        if "://" in str(self.artifacts):
            uri = str(self.artifacts).rstrip("/")
            object.__setattr__(self, "depot", uri)
            key = hashlib.sha256(uri.encode()).hexdigest()[:16]
            object.__setattr__(self, "artifacts", cache_folder() / "depots" / key)
        # Workers run in other folders than the one in which a relative path was meant.
        for name in ("data", "artifacts"):
            object.__setattr__(self, name, Path(getattr(self, name)).expanduser().absolute())


@dataclass(frozen=True)
class Inversion:
    """How the base model is inverted into generators (KegNet; Yoo et al. 2019).

    The defaults of `steps` and `batch_size` suit images of up to 28x28, on which four times the
    steps were seen to bring nothing; the authors take `KEGNET_STEPS` and `KEGNET_BATCH_SIZE`, and
    so does a study of larger images. `reconstruction_weight` and `diversity_weight` are their alpha
    and beta, `decoder_layers` their L: 1, 0 and 1 on MNIST, 1, 10 and 3 on Fashion-MNIST, 1, 1 and
    3 on SVHN, with a learning rate of 1e-3 on MNIST and of 1e-2 on the other two. `output` says how
    an image is mapped to what the classifier takes, "tanh" or "normalised"; `bn_weight` weighs the
    distance to the statistics of the classifier's batch norms, in their units (0: plain KegNet):
    methods that unlearn on the images keep a point or two more of the retain accuracy with it.
    `few_shot` real samples per class (0: none, and only then is a method that uses the generators
    zero-shot) draw images near them with `few_shot_weight`.
    """

    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3
    reconstruction_weight: float = 1.0
    diversity_weight: float = 1.0
    decoder_layers: int = 3
    output: str = "tanh"
    bn_weight: float = 10.0
    few_shot: int = 0
    few_shot_weight: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """What is to be forgotten: dataset, model, forget classes, and how the base model was made.

    The recipe's defaults are the thesis' (section 4: Adam, 1e-3, 30 epochs). `width` scales the
    channels of AllCNN, `gan_width` those of the GANs
    (`gan`: "dcgan", "wgan-gp" or "cgan"). `validation_fraction` is the share (0 to 1)
    of the training set that is held out, stratified, for the search. `seed` is the seed of base
    training and of the generators; `evaluation_seed` that of the attack's draws and of relearning;
    a trial's own seed is neither.

    `weights` is a .safetensors file of the base model, which is then not trained. Without a dataset
    (`NO_DATASET`) it is all there is, and `image_shape` and `num_classes` say what it takes and
    gives.

    Validation images are a share of the training images where `validation_from` is "training", half
    of the test images where it is "test"; left out, it is "test" where the base model comes from a
    file, which may have seen every training image. `held_out` is a file that lists the training
    images for validation (`trainables.data.splits.read_held_out`). Raises InvalidRequest for other
    words and for both at once.

    The anamnesis index (eq. 10) counts steps on batches of `anamnesis_batch_size` until a model is
    right for 1 - `anamnesis_alpha` of what the base model was right for, `anamnesis_epochs` epochs
    at most.

    `forget` are indices of classes, kept sorted, each once; InvalidRequest is raised for others.

    `precision` ("float32" or "bfloat16") is that of the convolutions of models that unlearn.
    Artifacts and measurements are float32's whatever it says.
    """

    dataset: str = "digits"
    forget: tuple[int, ...] = (3,)
    model: str = "allcnn"
    width: float = 0.25
    validation_fraction: float = 0.2
    seed: int = 0
    evaluation_seed: int = 0
    epochs: int = THESIS_EPOCHS
    learning_rate: float = THESIS_LEARNING_RATE
    batch_size: int = THESIS_BATCH_SIZE
    gan: str = "dcgan"
    gan_steps: int = 1_000
    gan_width: float = 1.0
    anamnesis_alpha: float = 0.05
    anamnesis_batch_size: int = 256
    anamnesis_epochs: int = 10
    precision: str = "float32"
    inversion: Inversion = Inversion()
    weights: str | None = None
    image_shape: tuple[int, int, int] | None = None
    num_classes: int | None = None
    validation_from: str | None = None
    held_out: str | None = None

    def __post_init__(self) -> None:
        try:
            if any(isinstance(label, bool) for label in self.forget):
                raise TypeError
            forget = sorted({operator.index(label) for label in self.forget})
        except TypeError:
            raise InvalidRequest(
                f"forget is {self.forget!r}: a Scenario takes the indices of classes, (3,); names "
                "are for a specification (ScenarioSpec) and for Raw.resolve_classes"
            ) from None
        object.__setattr__(self, "forget", tuple(forget))
        if self.validation_from not in (None, *VALIDATION_SOURCES):
            raise InvalidRequest(
                unknown("source of validation images", self.validation_from, VALIDATION_SOURCES)
            )
        if self.held_out is not None and self.validation_from == "test":
            raise InvalidRequest(
                f"validation is half of the test images, or the training images that "
                f'{self.held_out} lists: give validation_from = "test" or held_out, not both'
            )
        # Scenarios that are equal must name the same artifacts: 1 and 1.0 are written differently.
        for name in (
            "width",
            "validation_fraction",
            "learning_rate",
            "gan_width",
            "anamnesis_alpha",
        ):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def has_data(self) -> bool:
        """Whether there is more than the weights of the base model."""
        return self.dataset != NO_DATASET

    @property
    def validation_source(self) -> str:
        """Which images validation ones are taken from, "training" or "test"."""
        given_elsewhere = self.weights is not None and self.held_out is None
        return self.validation_from or ("test" if given_elsewhere else "training")
