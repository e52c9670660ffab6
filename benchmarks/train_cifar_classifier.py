"""Train the feature network of the CIFAR-10 scores, a classifier, from scratch: some 20 minutes on one CPU core.

    python benchmarks/train_cifar_classifier.py [--epochs 16] [--seed 0]

Writes the weights in half precision to src/limpid/metrics/extractors/cifar.safetensors and, beside them, cifar.json:
the hash, the accuracy on the test set, and the training log. The test set is only used to measure: no setting is
chosen by it.
"""

import argparse
import json
from hashlib import sha256
from pathlib import Path

from safetensors.torch import load_file, save_file

from limpid.data import Cifar10
from limpid.evaluation.classifier import CLASSIFIER_BATCH, accuracy_on_test_set, train_classifier, untrained_classifier
from limpid.metrics.extractors import cifar_classifier
from limpid.runtime.device import Runtime


def main() -> None:
    """Train, write the weights, and print the accuracy of the weights as written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=cifar_classifier.WEIGHTS)
    options = parser.parse_args()
    runtime = Runtime().resolve().setup()
    real, test = (Cifar10(split=split).load().to(runtime.device) for split in ("train", "test"))
    model, log = untrained_classifier(options.seed, runtime), []
    for line in train_classifier(model, real, options.epochs, options.seed, runtime):
        log.append(line | {"test_accuracy": accuracy_on_test_set(model, test).value})
        print(log[-1], flush=True)

    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, options.out)
    model.load_state_dict(load_file(options.out))
    about = {
        "sha256": sha256(options.out.read_bytes()).hexdigest(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "test_accuracy": accuracy_on_test_set(model, test).value,
        "train_accuracy": accuracy_on_test_set(model, real).value,
        "epochs": options.epochs,
        "batch": CLASSIFIER_BATCH,
        "seed": options.seed,
        "machine": str(runtime),
        "log": log,
    }
    options.out.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{options.out}: {about['test_accuracy']:.2%} of the test set right, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
