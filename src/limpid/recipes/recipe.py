"""A run as frozen data: everything that decides the trained weights, and nothing about paths or devices."""

from dataclasses import dataclass, field, fields, replace
from html import escape

from limpid.data import Cifar10, Data, Folder
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import Denoiser, NoiseConditioning, Timestep
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level_sampling import LevelSampler, UniformLevels
from limpid.diffusion.losses import ErrorNorm, SquaredError
from limpid.diffusion.samplers import Ancestral, Ddim, Sampler
from limpid.diffusion.schedules import LinearBeta, Schedule, Spacing, check_levels
from limpid.diffusion.targets import Eps, Target
from limpid.diffusion.weightings import Unweighted, Weight
from limpid.nets import Network, UNet
from limpid.optim.ema import Ema, EmaKind, folder_name, std_to_exp
from limpid.optim.optimizers import AdamW, Optimizer
from limpid.storage.download import expand_home


@dataclass(frozen=True)
class TrainingSchedule:
    """The sampler uses the schedule of training."""


@dataclass(frozen=True)
class Sampling:
    """How samples are generated."""

    steps: int = 1000
    """Steps of the sampler."""
    sampler: Sampler = Ancestral("large")
    schedule: Schedule | TrainingSchedule = TrainingSchedule()
    """The schedule of the sampler's levels."""
    spacing: Spacing = "trailing"
    """Spacing of the timesteps of a discrete schedule, as in diffusers."""
    clip_denoised: bool = True
    """Clip every predicted x0 to [-1, 1]."""
    guidance: Guidance = Guidance()
    guidance_model: str = ""
    """A run or checkpoint of a weaker network to guide away from (autoguidance).
    If not given, the network itself without labels (classifier-free guidance), which label dropout trains."""


@dataclass(frozen=True)
class Every:
    """Intervals, in images, of what a run does besides training; 0 is never."""

    log: int = 12_800
    """Lines of log.jsonl."""
    sample: int = 1_280_000
    """Sample grids."""
    save: int = 1_280_000
    """Checkpoints, of which only the last two are kept."""
    milestone: int = 0
    """Checkpoints that are never removed."""
    snapshot: int = 1_280_000
    """Snapshots of the EMAs of `ema_snapshots`."""
    score: int = 0
    """Scores of a few samples with limpid's own feature network; the checkpoint with the best score is saved."""
    score_images: int = 1000
    """Samples of each score: only scores of equal numbers of samples can be compared."""

    def __post_init__(self) -> None:
        if negative := [f"{spec.name} {value}" for spec in fields(self) if (value := getattr(self, spec.name)) < 0]:
            raise ValueError(f"every {', '.join(negative)}: expected a number of images, 0 for never")


@dataclass(frozen=True)
class Recipe:
    """A training run. Durations are counted in images shown to the network, so they survive a change of batch size."""

    duration: int = 102_400_000
    """How long to train, in images: steps times batch size."""
    batch_size: int = 128
    """Images per step."""
    seed: int = 0
    """Seed of all random numbers of the run."""
    data: Data = field(default_factory=Cifar10)
    augment: Augment = Augment()
    network: Network = UNet()
    init: str = ""
    """A run, checkpoint or model of another program, whose EMA weights training begins with instead of random ones."""
    class_conditional: bool = False
    """Condition the network on the class of each image."""
    label_dropout: float = 0.0
    """Fraction of images whose label is dropped in training, which classifier-free guidance needs."""
    schedule: Schedule = LinearBeta()
    target: Target = Eps()
    learned_variance: bool = False
    """Also learn the variance of the reverse process, for `Ancestral("learned")` (improved DDPM)."""
    noise_conditioning: NoiseConditioning = Timestep()
    loss: ErrorNorm = SquaredError()
    """Norm of the error of the prediction."""
    loss_weighting: Weight = Unweighted()
    """Weight of the loss at each level."""
    uncertainty_weighting: bool = False
    """Learn the expected loss at each level, and divide the loss by it (EDM2)."""
    level_sampler: LevelSampler = UniformLevels()
    optimizer: Optimizer = AdamW(warmup_images=640_000)
    ema: EmaKind = Ema(halflife=887_000.0)
    ema_snapshots: tuple[float, ...] = ()
    """Relative lengths of power-function EMAs to save at intervals; `limpid posthoc-ema` computes others from them."""
    sampling: Sampling = Sampling()
    every: Every = Every()

    def __post_init__(self) -> None:
        if self.duration < 1 or self.batch_size < 1:
            raise ValueError(f"duration {self.duration}, batch_size {self.batch_size}: expected at least 1 of each")
        check_levels(self.schedule)
        if not isinstance(self.sampling.schedule, TrainingSchedule):
            check_levels(self.sampling.schedule)
        if not 0 <= self.label_dropout <= 1:
            raise ValueError(f"label dropout {self.label_dropout}: expected a fraction, 0 to 1")
        for std in self.ema_snapshots:
            std_to_exp(std)
        if len({folder_name(std) for std in self.ema_snapshots}) < len(self.ema_snapshots):
            raise ValueError(f"snapshots {self.ema_snapshots}: expected lengths that differ by 0.001 or more")

    def _repr_html_(self) -> str:
        """The fields as a table, for a notebook."""
        rows = ((spec.name, getattr(self, spec.name)) for spec in fields(self))
        cells = "".join(f"<tr><td>{name}</td><td><code>{escape(str(value))}</code></td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"

    @property
    def sampling_schedule(self) -> Schedule:
        """The schedule of the sampler's levels."""
        return self.schedule if isinstance(self.sampling.schedule, TrainingSchedule) else self.sampling.schedule


def with_absolute_root(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths of its data and initial weights."""
    if recipe.init and (init := expand_home(recipe.init)).exists():
        recipe = replace(recipe, init=str(init.absolute()))
    root = getattr(recipe.data, "root", "")
    if not root:
        return recipe
    data = with_root(recipe.data, root)
    return replace(recipe, data=data.with_absolute_labels() if isinstance(data, Folder) else data)


@dataclass(frozen=True)
class DataPath:
    """The current path of the data of a run."""

    root: str = ""
    """The path of the data, if it was moved; other images than the run was trained on are refused."""


def with_root(data: Data, root: str) -> Data:
    """The same data at another path. Raises ValueError for data without a path."""
    if not hasattr(data, "root"):
        raise ValueError(f"--data.root {root}: {type(data).__name__} come with limpid, and have no path")
    return replace(data, root=str(expand_home(root).absolute()))  # pyright: ignore[reportCallIssue]


def build_denoiser(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> Denoiser:
    """The recipe's denoiser of images of `shape` (channels, height, width), untrained.

    Raises ValueError for a class-conditional network of images without classes.
    """
    if recipe.class_conditional and not num_classes:
        advice = "add --no-class-conditional --sampling.guidance.scale 1"
        raise ValueError(f"a class-conditional network needs images with classes, and these have none: {advice}")
    num_classes = num_classes if recipe.class_conditional else 0
    learned = recipe.learned_variance
    net = recipe.network.build(shape, num_classes, out_multiplier=2 if learned else 1)
    return Denoiser(net, recipe.target, recipe.noise_conditioning, recipe.schedule, num_classes, learned)


PREVIEW_STEPS = 50


def preview_recipe(recipe: Recipe) -> Recipe:
    """The recipe with fast sampling for a preview: DDIM in 50 steps if it has more."""
    if recipe.sampling.steps <= PREVIEW_STEPS:
        return recipe
    return replace(recipe, sampling=replace(recipe.sampling, steps=PREVIEW_STEPS, sampler=Ddim()))
