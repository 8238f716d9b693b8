"""What a study's specification holds: its sections and their fields.

The text under a field is its one description: `--help` shows it at the field's flag, which follows
from the field (`search.cli.flags`), with the default where that is a value. So the file is as long
as a study has settings, and has nothing else in it: reading, checking, resolving and comparing are
next door (`reading`, `checking`, `resolving`, `resolved`, `differing`).
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from search.definition.kinds import (
    Batch,
    Count,
    CountOrNone,
    Forgotten,
    Fused,
    GapTerm,
    Gpus,
    Located,
    Plain,
    Points,
    Rate,
    Seconds,
    Seed,
    Share,
    Size,
    Terms,
    Together,
    Weight,
    Width,
)
from trainables.scenario import (
    THESIS_BATCH_SIZE,
    THESIS_EPOCHS,
    THESIS_LEARNING_RATE,
    Inversion,
)

EXECUTION = (
    *("trials", "sampler", "pruner", "metrics", "curves"),
    *("retries", "give_up_after", "trial_timeout", "time_budget", "concurrency", "resources"),
)
"""What may change when a study is continued; all else says what the study *is*."""


class Section(BaseModel):
    """A table of a specification."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class ScenarioSpec(Section):
    """What is to be forgotten. What is left out is chosen to suit the dataset.

    In `forget` a whole number is the index of a class, from 0, and a string is a name.
    `weights` is a .safetensors file of the base model; with the dataset "none" it is all there is,
    and `image_size` (height and width in pixels) says what images the model takes. `precision` is
    that of the convolutions of models that unlearn; they are measured in float32.

    Validation images are a share of the training images (`validation_fraction`), or, with
    `validation_from` "test", half of the test images. That is so where the base model comes from a
    file, since it may have seen all training images: "training" then says that it was trained
    without that share, as our own are. `held_out` is a text file with a training image a line, an
    index or, of a folder, a path below train/: these are the validation images.
    """

    dataset: Located = "digits"
    """see `forgetune datasets`; or a .npz file, or a folder of images; none: the weights alone"""

    forget: Forgotten | None = None
    """class to forget, by name or number (from 0), a name first; repeat for several [default: suits
    the dataset]"""

    model: str = "allcnn"
    """allcnn, vgg16 or resnet9"""

    width: Width | None = None
    """factor on the model's channels [default: suits the dataset]"""

    validation_fraction: Share | None = None
    """share of the training images that is for validation [default: suits the dataset]"""

    seed: Seed = 0
    """seed of the base and the retrained model, and of the generators"""

    evaluation_seed: Seed = 0
    """seed of the attack's draws and of relearning"""

    epochs: Count = THESIS_EPOCHS
    """epochs of training the base and the retrained model"""

    learning_rate: Rate = THESIS_LEARNING_RATE
    """learning rate (Adam's) of that training; a method's is a hyperparameter (--set)"""

    batch_size: Batch = THESIS_BATCH_SIZE
    """images in a batch of that training; a method's is a hyperparameter (--set)"""

    gan: Literal["dcgan", "cgan", "wgan-gp"] = "dcgan"
    """what MuGAN draws from: dcgan, cgan or wgan-gp"""

    gan_steps: Count | None = None
    """steps of training each GAN [default: suits the dataset]"""

    gan_width: Width = 1.0
    """factor on the GANs' channels"""

    anamnesis_alpha: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """share of what the base model was right for that relearning may miss, for the anamnesis
    index"""

    anamnesis_batch_size: Batch = 256
    """images in a batch of relearning"""

    anamnesis_epochs: Count = 10
    """most epochs of relearning"""

    precision: Literal["float32", "bfloat16"] = "float32"
    """of unlearning: float32, or bfloat16 where the processor has it"""

    weights: Located | None = None
    """.safetensors file of the base model, which is then not trained"""

    image_size: Size | None = None
    """pixels of the model's images where there is no dataset: 32 or 28x32"""

    validation_from: Literal["training", "test"] | None = None
    """where validation images are taken from: training, or test (half of each class) [default:
    training; test with --weights]"""

    held_out: Located | None = None
    """text file of the training images that are for validation, one a line: an index, or a path
    below train/"""


class InversionSpec(Section):
    """How the base model is inverted into generators; see `trainables.scenario.Inversion`. Steps
    and batch size suit the size of the images where they are left out."""

    steps: Count | None = None
    """steps of training each generator [default: suits the size of the images]"""

    batch_size: Batch | None = None
    """images in a batch of that training [default: suits the size of the images]"""

    learning_rate: Rate = Inversion.learning_rate
    """learning rate of that training"""

    reconstruction_weight: Weight = Inversion.reconstruction_weight
    """weight of the decoder's loss (KegNet's alpha)"""

    diversity_weight: Weight = Inversion.diversity_weight
    """weight of the diversity of images (KegNet's beta)"""

    decoder_layers: Annotated[int, Field(ge=0, le=10)] = Inversion.decoder_layers
    """hidden layers of the decoder, 0 to 10 (KegNet's L)"""

    output: Literal["tanh", "normalised"] = "tanh"
    """how an image is mapped to what the model takes: tanh or normalised"""

    bn_weight: Weight = Inversion.bn_weight
    """weight of the distance to the statistics of the model's batch norms; 0: plain KegNet"""

    few_shot: CountOrNone = Inversion.few_shot
    """real samples of each class that images are drawn near to; 0: none, which is zero-shot"""

    few_shot_weight: Weight = Inversion.few_shot_weight
    """weight of the distance to these samples"""


class Resources(Section):
    """What one trial holds. `gpus_per_trial` may be a fraction; left out, it is 1 where there is
    a GPU and 0 elsewhere. As many as `fuse` trials share a trial's place, as one computation;
    "auto" has as many as fit into a GPU's memory, up to sixteen, and one on a CPU."""

    cpus_per_trial: Together = 1
    """CPUs that a trial holds"""

    gpus_per_trial: Gpus | None = None
    """GPUs that a trial holds; may be a fraction [default: 1 if there is one]"""

    fuse: Fused = 1
    """trials that share a place, as one batched computation; auto: as suits the GPU"""


class StudySpec(Section):
    """A search: scenario, method, space, objectives and number of trials.

    `gap_terms` says over which metrics the gap to the retrained model is the mean: accuracies and
    MIA, by which who only switches an output off does well, or these and the probe. That gap steers
    with the objective "gap", and chooses the best trial with "pareto" too.
    The objective "synthetic" steers by images of generators that were inverted from the base
    model, so that the search needs no data.
    `trials` is a target, not an increment. `mia_tolerance` (points) makes the distance of the MIA
    to the retrained model's a constraint. `pruner` stops trials early, in studies with one
    objective. `metrics` adds expensive ones to those of every trial; `curves` has every trial
    evaluated after each phase or epoch, as a pruner has. `retries` counts further attempts of a
    trial whose worker died; a run ends, unsettled, when `give_up_after` trials crashed alike before
    any has ended otherwise (0: never); `trial_timeout` and `time_budget` (no trial begins after it)
    are in seconds; `concurrency` bounds the trials run at once. With `pool_samples` the study draws
    the samples of its generators once, and each trial gets the first of them, as many as it asks
    for; without, each trial draws its own.
    """

    name: str | None = None
    """name of the study [default: follows from method and scenario]"""

    method: str = "mugan"
    """see `forgetune methods`"""

    trials: Count = 100
    """trials in all"""

    sampler: str = "tpe"
    """tpe, gp, nsga2, random, sobol or grid"""

    objective: Literal["pareto", "gap", "synthetic"] = "pareto"
    """pareto (forget down, retain up), gap, or synthetic (as pareto, on images of inverted
    generators)"""

    gap_terms: Terms = list(get_args(GapTerm)[:3])
    """what the gap is the mean of: forget_accuracy,retain_accuracy,mia or these and probe, by which
    who only switches an output off does not look well [default: without]"""

    mia_tolerance: Points | None = None
    """most points of MIA from the retrained model's [default: any]"""

    seed: Seed = 0
    """seed of the study"""

    pruner: str = "none"
    """stop bad trials early: asha or median; needs --objective gap"""

    metrics: list[Literal["anamnesis", "synthetic"]] = []
    """expensive metrics to measure too: anamnesis, synthetic"""

    curves: bool = False
    """evaluate every trial after each phase or epoch"""

    retries: CountOrNone = 3
    """further attempts when a worker dies"""

    give_up_after: CountOrNone = 3
    """end the run when so many trials crashed alike before any ended otherwise; 0: never"""

    trial_timeout: Seconds | None = None
    """seconds after which a trial is ended [default: none]"""

    time_budget: Seconds | None = None
    """seconds after which no trial begins [default: none]"""

    concurrency: Count | None = None
    """most trials at once [default: what fits]"""

    scenario: ScenarioSpec = ScenarioSpec()
    inversion: InversionSpec = InversionSpec()

    pool_samples: StrictBool = True
    """have all trials take the first of samples that are drawn once, not each its own"""

    space: dict[str, Plain | list[Plain]] = {}
    """hyperparameter: NAME=VALUE fixes it, NAME=LOW..HIGH bounds it, NAME=A,B lists it"""

    resources: Resources = Resources()


SECTIONS: dict[str, type[Section]] = {
    "scenario": ScenarioSpec,
    "inversion": InversionSpec,
    "resources": Resources,
}
"""The tables in a specification whose keys are known beforehand; the space's are the method's."""


def probed(spec: StudySpec) -> bool:
    """Whether the gap that steers the study, and chooses the best of it, is that with the probe."""
    return "probe" in spec.gap_terms


def measured(spec: StudySpec) -> tuple[str, ...]:
    """The groups of expensive metrics that every trial of the study is measured by."""
    steering = ["synthetic"] if spec.objective == "synthetic" else []
    return tuple(dict.fromkeys([*spec.metrics, *steering]))


def pool_seed(spec: StudySpec) -> int | None:
    """The seed of the samples that the study's trials share; None if each draws its own."""
    return spec.seed if spec.pool_samples else None
