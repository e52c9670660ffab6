"""A step of training against other projects' steps of the same network, each as it ships, by turns.

    python benchmarks/training_step.py [--batches 16 64] [--quick]

Every contestant has a process of its own, so that none lends another its memory, threads or settings. Like is compared
with like besides: float32 with float32, bfloat16 with bfloat16. About twenty minutes on two cores.
"""

from paired import Contestant, arguments, duel, parse_options, written
from peers import common_training, diffusers_training, limpid_training


def main() -> None:
    """Measure all pairs, and write down what came of it."""
    parser = arguments(__doc__ or "", "training_step")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    options = parse_options(parser)
    if options.quick:
        pairs = [("cifar10-small", 2, *between("cifar10-small")[0])]
    else:
        pairs = [("cifar10", batch, *pair) for batch in options.batches for pair in between("cifar10")]
        pairs += [("cifar10-small", 32, *pair) for pair in between("cifar10-small")]
    written([duel(*pair, options) for pair in pairs], options)


def between(network: str) -> list[tuple[Contestant, Contestant, float]]:
    """Who meets whom, and how many times as fast is wanted at least."""
    ours, ours32 = (Contestant(f"limpid, {p}", limpid_training, (network, p)) for p in ("bfloat16", "float32"))
    theirs, theirs16 = (
        Contestant(f"diffusers, {p}", diffusers_training, (network, p)) for p in ("float32", "bfloat16")
    )
    pairs = [(ours, theirs, 2.0), (ours, theirs16, 1.1), (ours32, theirs, 1.2)]
    common = Contestant("as commonly written, float32", common_training)
    return [*pairs, (ours, common, 2.0), (ours32, common, 1.2)] if network == "cifar10" else pairs


if __name__ == "__main__":
    main()
