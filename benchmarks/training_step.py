"""A step of training against other projects' steps of the same network, each as it ships, by turns.

    python benchmarks/training_step.py [--batches 16 64] [--quick]

Every contestant has its own process, so that memory, threads and settings are not shared. Equal precisions are compared
too: float32 with float32, bfloat16 with bfloat16. About twenty minutes on two cores.
"""

from paired import Contestant, arguments, duel, parse_options, save_duels
from peers import common_training, diffusers_training, limpid_training


def main() -> None:
    """Measure all pairs, and write JSON and plots."""
    parser = arguments(__doc__ or "", "training_step")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    options = parse_options(parser)
    if options.quick:
        pairs = [("cifar10-small", 2, *contestants("cifar10-small")[0])]
    else:
        pairs = [("cifar10", batch, *pair) for batch in options.batches for pair in contestants("cifar10")]
        pairs += [("cifar10-small", 32, *pair) for pair in contestants("cifar10-small")]
    save_duels([duel(*pair, options) for pair in pairs], options)


def contestants(network: str) -> list[tuple[Contestant, Contestant, float]]:
    """Pairs of contestants, and the target ratio of their speeds."""
    limpid, limpid_float32 = (
        Contestant(f"limpid, {p}", limpid_training, (network, p)) for p in ("bfloat16", "float32")
    )
    diffusers, diffusers_bfloat16 = (
        Contestant(f"diffusers, {p}", diffusers_training, (network, p)) for p in ("float32", "bfloat16")
    )
    pairs = [(limpid, diffusers, 2.0), (limpid, diffusers_bfloat16, 1.1), (limpid_float32, diffusers, 1.2)]
    common = Contestant("as commonly written, float32", common_training)
    return [*pairs, (limpid, common, 2.0), (limpid_float32, common, 1.2)] if network == "cifar10" else pairs


if __name__ == "__main__":
    main()
