"""A run as frozen data: everything that decides what is learnt, and nothing about where or on what."""

from dataclasses import dataclass, field, fields, replace

from limpid.data import Cifar10, Data
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import Condition, Denoiser, Timestep
from limpid.diffusion.emphasis import Emphasis, Even
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.losses import Flat, Weight
from limpid.diffusion.samplers import Ancestral, Sampler
from limpid.diffusion.schedules import LinearBeta, Schedule, Spacing, check_levels
from limpid.diffusion.targets import Eps, Target
from limpid.download import expanded
from limpid.learning.average import Average, Ema, exponent, folder_name
from limpid.learning.optim import Adam, Optimizer
from limpid.nets import Network, UNet


@dataclass(frozen=True)
class Same:
    """The schedule of training."""


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn."""

    steps: int = 1000
    """Steps of the sampler."""
    sampler: Sampler = Ancestral("large")
    levels: Schedule | Same = Same()
    """The schedule whose levels the steps visit."""
    spacing: Spacing = "trailing"
    """How a schedule of T steps is cut; the others are what published code does."""
    clip: bool = True
    """Hold every predicted picture in [-1, 1]."""
    guidance: Guidance = Guidance()
    guide: str = ""
    """A run or checkpoint of a weaker network to be guided away from (autoguidance); without one it is the network
    itself without labels (classifier-free guidance), which must have been trained with some of them withheld."""


@dataclass(frozen=True)
class Every:
    """After how many images the run does something besides training."""

    log: int = 12_800
    sample: int = 1_280_000
    save: int = 1_280_000
    milestone: int = 0
    """Checkpoints that are kept for good; of the others only the last two are."""
    snapshot: int = 1_280_000
    score: int = 0
    """Scores, by limpid's own judge, of few pictures; the checkpoint that scored best is kept. 0 is never."""
    scored: int = 1000
    """Pictures of each score: only scores of equal numbers compare."""

    def __post_init__(self) -> None:
        if negative := [f"{spec.name} {value}" for spec in fields(self) if (value := getattr(self, spec.name)) < 0]:
            raise ValueError(f"every {', '.join(negative)}: expected a number of images, 0 for never")


@dataclass(frozen=True)
class Recipe:
    """A training run. Durations are counted in images shown to the network, so they survive a change of batch size."""

    images: int = 102_400_000
    """How long to train."""
    batch: int = 128
    """Images a step."""
    seed: int = 0
    """What all randomness of the run begins from."""
    data: Data = field(default_factory=Cifar10)
    augment: Augment = Augment()
    network: Network = UNet()
    conditional: bool = False
    """Tell the network the class of each picture."""
    label_dropout: float = 0.0
    """Share of pictures whose class is withheld, so that the network can be guided."""
    schedule: Schedule = LinearBeta()
    target: Target = Eps()
    learned_variance: bool = False
    """Learn the variance of the reverse process besides, for `Ancestral("learned")` (improved DDPM)."""
    condition: Condition = Timestep()
    weight: Weight = Flat()
    uncertainty: bool = False
    """Learn how large the loss is at each level, and divide by it (EDM2)."""
    emphasis: Emphasis = Even()
    optimizer: Optimizer = Adam(warmup=640_000)
    average: Average = Ema(half_life=887_000.0)
    snapshots: tuple[float, ...] = ()
    """Relative lengths of power-function averages to keep from time to time; `limpid average` then builds any other."""
    sampling: Sampling = Sampling()
    every: Every = Every()

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch < 1:
            raise ValueError(f"images {self.images}, batch {self.batch}: expected at least 1 of each")
        check_levels(self.schedule)
        if not isinstance(self.sampling.levels, Same):
            check_levels(self.sampling.levels)
        if not 0 <= self.label_dropout <= 1:
            raise ValueError(f"label dropout {self.label_dropout}: expected a share, 0 to 1")
        for std in self.snapshots:
            exponent(std)
        if len({folder_name(std) for std in self.snapshots}) < len(self.snapshots):
            raise ValueError(f"snapshots {self.snapshots}: expected lengths that differ by 0.001 or more")

    @property
    def sampling_schedule(self) -> Schedule:
        """The schedule that samplers walk down."""
        return self.schedule if isinstance(self.sampling.levels, Same) else self.sampling.levels


def placed(recipe: Recipe) -> Recipe:
    """The recipe with the place of its data in full, so that it means the same from every folder."""
    root = getattr(recipe.data, "root", "")
    return replace(recipe, data=with_root(recipe.data, root)) if root else recipe


@dataclass(frozen=True)
class DataPlace:
    """Where the data of a run is now."""

    root: str = ""
    """Where the data of the run is now, if it was moved; other images than it was trained on are refused."""


def with_root(data: Data, root: str) -> Data:
    """The same data at another place. Raises ValueError for data that has none."""
    if not hasattr(data, "root"):
        raise ValueError(f"--data.root {root}: {type(data).__name__} come with limpid, and are at no place")
    return replace(data, root=str(expanded(root).absolute()))  # pyright: ignore[reportCallIssue]


def build(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> Denoiser:
    """The recipe's denoiser of pictures of `shape` (channels, height, width), untrained.

    Raises ValueError if the network is to be told classes, and the pictures have none.
    """
    if recipe.conditional and not classes:
        advice = "add --no-conditional --sampling.guidance.weight 0"
        raise ValueError(f"the network is to be told classes, and these pictures have none: {advice}")
    classes = classes if recipe.conditional else 0
    learned = recipe.learned_variance
    net = recipe.network.build(shape, classes, answers=2 if learned else 1)
    return Denoiser(net, recipe.target, recipe.condition, recipe.schedule, classes, learned)
