"""Options of other programs: diffusers' example, EDM, EDM2, k-diffusion, nanoGPT, improved DDPM and ADM.

Those that mean the same are accepted; for every other one the error message names the nearest option.
"""

from collections.abc import Container

GUIDANCE = ("--guidance.scale", "--sampling.guidance.scale")
SAMPLES = ("--num-samples", "--n")
SAMPLING_STEPS = ("--sampling.steps", "--steps")
FOLDER = ("--run", "--out")

ACCEPTED: dict[str, tuple[str, ...]] = {
    "-n": SAMPLES,
    "--n": SAMPLES,
    "--num": SAMPLES,
    "--num-samples": SAMPLES,
    "--images": ("--duration",),
    "--num-epochs": ("--epochs",),
    "--num-train-epochs": ("--epochs",),
    "--batch": ("--batch-size",),
    "--train-batch-size": ("--batch-size",),
    "--batch-gpu": ("--micro-batch",),
    "--microbatch": ("--micro-batch",),
    "--outdir": FOLDER,
    "--out-dir": FOLDER,
    "--output-dir": FOLDER,
    "--out": FOLDER,
    "--dest": ("--save-stats",),
    "--license": ("--licence",),
    "--data": ("--data.root",),
    "--data-dir": ("--data", "--data.root"),
    "--train-data-dir": ("--data",),
    "--dataset": ("--data",),
    "--dataset-name": ("--data",),
    "--resolution": ("--data.size",),
    "--image-size": ("--data.size",),
    "--workers": ("--data.workers",),
    "--num-workers": ("--data.workers",),
    "--dataloader-num-workers": ("--data.workers",),
    "--cond": ("--class-conditional",),
    "--class-cond": ("--class-conditional",),
    "--class": ("--labels",),
    "--strength": ("--strengths",),
    "--lr": ("--optimizer.lr",),
    "--learning-rate": ("--optimizer.lr",),
    "--lr-scheduler": ("--optimizer.lr-schedule",),
    "--weight-decay": ("--optimizer.weight-decay",),
    "--adam-weight-decay": ("--optimizer.weight-decay",),
    "--grad-clip": ("--optimizer.max-grad-norm",),
    "--max-grad-norm": ("--optimizer.max-grad-norm",),
    "--channels": ("--network.model-channels",),
    "--cbase": ("--network.model-channels",),
    "--num-channels": ("--network.model-channels",),
    "--cres": ("--network.channel-mult",),
    "--channel-mult": ("--network.channel-mult",),
    "--num-res-blocks": ("--network.num-blocks",),
    "--attention-resolutions": ("--network.attn-resolutions",),
    "--num-head-channels": ("--network.head-channels",),
    "--use-scale-shift-norm": ("--network.scale-shift",),
    "--dropout": ("--network.dropout",),
    "--n-layer": ("--network.depth",),
    "--n-head": ("--network.num-heads",),
    "--n-embd": ("--network.hidden-size",),
    "--noise-schedule": ("--schedule",),
    "--ddpm-beta-schedule": ("--schedule",),
    "--diffusion-steps": ("--schedule.T",),
    "--ddpm-num-steps": ("--schedule.T",),
    "--P-mean": ("--schedule.mean",),
    "--P-std": ("--schedule.std",),
    "--prediction": ("--target",),
    "--prediction-type": ("--target",),
    "--learn-sigma": ("--learned-variance",),
    "--rescale-timesteps": ("--noise-conditioning.rescale-timesteps",),
    "--weighting-scheme": ("--loss-weighting",),
    "--schedule-sampler": ("--level-sampler",),
    "--dtype": ("--precision",),
    "--mixed-precision": ("--precision",),
    "--sampler": ("--sampling.sampler",),
    "--solver": ("--sampling.sampler", "--sampler"),
    "--sampling-schedule": ("--sampling.schedule", "--schedule"),
    "--num-inference-steps": SAMPLING_STEPS,
    "--ddpm-num-inference-steps": SAMPLING_STEPS,
    "--timestep-respacing": SAMPLING_STEPS,
    "--sampler.steps": SAMPLING_STEPS,
    "--clip-denoised": ("--sampling.clip-denoised",),
    "--guidance": GUIDANCE,
    "--guidance-scale": GUIDANCE,
    "--cfg": GUIDANCE,
    "--cfg-scale": GUIDANCE,
    "--gnet": ("--guidance-model", "--sampling.guidance-model"),
    "--sigma-min": ("--sampling.schedule.sigma-min", "--schedule.sigma-min"),
    "--sigma-max": ("--sampling.schedule.sigma-max", "--schedule.sigma-max"),
    "--rho": ("--sampling.schedule.rho", "--schedule.rho"),
    "--S-churn": ("--sampling.sampler.churn", "--sampler.churn"),
    "--S-min": ("--sampling.sampler.churn-min", "--sampler.churn-min"),
    "--S-max": ("--sampling.sampler.churn-max", "--sampler.churn-max"),
    "--S-noise": ("--sampling.sampler.churn-noise", "--sampler.churn-noise"),
    "--detector": ("--features",),
    "--ref": ("--reference",),
    "--outstd": ("--std",),
}
"""Options that mean the same as one of limpid's: the first of these names that the command has."""

_NAMES_BY_ANSWER: dict[str, str] = {
    "the length of a run is --duration, counted in images (steps x batch size), or --epochs": (
        "--max-steps --max-train-steps --max-iters --iterations --end-step"
    ),
    "it is --optimizer.warmup-images, counted in images (steps x batch size)": (
        "--lr-warmup-steps --warmup-iters --warmup-steps"
    ),
    "it is --optimizer.betas, which takes both: --optimizer.betas 0.9 0.999": (
        "--adam-beta1 --adam-beta2 --beta1 --beta2"
    ),
    "epsilon of Adam is 1e-8, as in torch; what can be set is --optimizer.lr and --optimizer.betas": "--adam-epsilon",
    "it is --optimizer.lr-schedule (none, linear or cosine), which falls to zero at the end of --duration": (
        "--lr-anneal-steps --decay-lr --lr-decay-iters --min-lr --decay --anneal-lr"
    ),
    "it is --ema.halflife, counted in images: halflife = batch size x ln(0.5) / ln(decay)": (
        "--ema-decay --ema-rate --ema-max-decay"
    ),
    "the EMA at the start of a run is made shorter by --ema.rampup-ratio": "--ema-inv-gamma --ema-power",
    "an EMA is always computed (--ema); --weights ema or raw chooses in sampling": "--use-ema --reset-ema",
    "float16 is not supported: --precision bfloat16 has the range of float32, and needs no scaling of the loss": (
        "--fp16 --use-fp16 --ls --fp16-scale-growth --classifier-use-fp16"
    ),
    "gradients accumulate where --micro-batch is smaller than --batch-size": (
        "--gradient-accumulation-steps --grad-accum-steps"
    ),
    "activations are not recomputed: a smaller --micro-batch needs less memory": (
        "--use-checkpoint --checkpointing --enable-xformers-memory-efficient-attention"
    ),
    "it is --every.save, counted in images": (
        "--save-interval --save-every --save-model-epochs --checkpointing-steps --snap --dump --snapshot --checkpoint "
        "--always-save-checkpoint"
    ),
    "the last two checkpoints are kept; --every.milestone, counted in images, keeps more": "--checkpoints-total-limit",
    "it is --every.log, counted in images; a run writes log.jsonl, and `limpid show loss RUN` plots it": (
        "--log-interval --tick --status --logger --logging-dir --wandb-log --wandb-project --wandb-run-name "
        "--wandb-entity --wandb-group --wandb-save-model"
    ),
    "it is --every.sample, counted in images": "--save-images-epochs --demo-every",
    "the sample grid of a run has a fixed size; --num-samples is an option of `limpid sample RUN`": "--sample-n",
    "samples are generated by `limpid sample RUN`, --batch-size at a time": "--eval-batch-size",
    "it is --every.score during a run, counted in images; `limpid evaluate RUN` scores it afterwards": (
        "--evaluate-every --eval-interval --eval-iters --evaluate-only --eval-only"
    ),
    "it is --every.score-images during a run, and --n of `limpid evaluate RUN`": "--evaluate-n",
    "it is --features: limpid's own feature network, or Inception by one of several protocols": (
        "--evaluate-with --dinov2-model --clip-model --metrics --metric"
    ),
    "`limpid train RUN` continues a run, and so does the same command with the same --run": (
        "--resume --resume-checkpoint --resume-from-checkpoint --resume-inference --init-from --transfer "
        "--overwrite-output-dir"
    ),
    "the run or checkpoint is the first word: `limpid sample RUN`, `limpid evaluate RUN`": (
        "--model-path --net --network --indir --inprefix"
    ),
    "the snapshots of the EMA are in the run's folder: `limpid posthoc-ema RUN --std 0.1`": (
        "--outprefix --outkimg --skip"
    ),
    "the number of samples is --num-samples; `limpid evaluate IMAGES` scores images of files": "--images",
    "each sample has its own seed: `limpid sample RUN --seed 0 --num-samples 64` has the seeds 0 to 63": "--seeds",
    "it is --save-images, which writes one file for each seed": "--subdirs",
    "it is --network (UNet or DiT), and --network.arch for the paper that a U-Net follows": (
        "--arch --model-config-name-or-path"
    ),
    "a U-Net takes --network.head-channels, a DiT --network.num-heads": "--num-heads --num-heads-upsample",
    "it is --network.resample biggan": "--resblock-updown",
    "it is set by --network.arch, the paper that a U-Net follows": "--use-new-attention-order --bias",
    "the sequence of a DiT is the image: (--data.size / --network.patch-size) squared": "--block-size",
    "the prediction is --target, the noise levels are --schedule; the recipe cifar10-edm has EDM's": "--precond",
    "the levels that a sampler visits are --sampling-schedule": "--disc --scaling",
    "a named configuration is a recipe, the first word of `limpid train RECIPE`": (
        "--preset --config --dataset-config-name"
    ),
    "the name of a run is its folder, --run": "--name --desc --nosubdir",
    "nothing is uploaded: a run stays in its folder, --run": (
        "--push-to-hub --hub-token --hub-model-id --hub-private-repo"
    ),
    "downloads are kept in the folder $LIMPID_DATA; --data.root names the data itself": "--cache-dir",
    "images are held in memory or mapped from disk; --data.workers reads them ahead": "--cache",
    "guidance by a classifier is not supported; the scale of classifier-free guidance is --guidance": (
        "--classifier-path --classifier-scale --classifier-width --classifier-depth --classifier-pool --noised "
        "--classifier-attention-resolutions --classifier-use-scale-shift-norm --classifier-resblock-updown"
    ),
    "processes are started by torchrun; --device names the kind of device": "--local-rank --backend --start-method",
    "it is a probability, --augment.flip 0.5": "--random-flip --xflip",
    "augmentations are --augment.flip, a probability, and --augment.shift, in pixels": "--augment",
    "images of another shape are cropped in the middle (--data.fit crop)": "--center-crop",
    "images are stored as uint8; --data.channels chooses RGB, L or RGBA": "--preserve-input-precision",
    "the fraction of the images that is held out is --data.held-out": "--val-data-dir",
    "text is not supported; --class-conditional gives the network the class of each image": "--text-model",
    "all images have one size, --data.size": "--large-size --small-size",
    "the fastest kernels are chosen by measurement unless --deterministic is given": "--bench",
    "it is --sampling.sampler.variance small, large or learned, of --sampling.sampler Ancestral": "--sigma-small",
    "it is --sampler ddim": "--use-ddim",
    "the bound is a part of the loss with --learned-variance; `limpid likelihood RUN` measures it": (
        "--use-kl --rescale-learned-sigmas"
    ),
    "it is --target X0": "--predict-xstart",
    "it is --loss-weighting MinSnrWeight with --loss-weighting.gamma": "--snr-gamma",
    "it is --label-dropout, the fraction of images without a label in training": "--class-dropout-prob --cfg-drop",
    "`limpid bench RECIPE` measures what a run costs": "--dry-run",
    "the norm of each gradient is in log.jsonl; --optimizer.max-grad-norm limits it": "--gns",
    "it is --guidance, a scale with 1 for none: the weight of limpid 0.1 plus 1": (
        "--guidance.weight --sampling.guidance.weight"
    ),
}
ANSWERS: dict[str, str] = {name: answer for answer, names in _NAMES_BY_ANSWER.items() for name in names.split()}
"""Messages for options that have no counterpart of the same meaning: each names the nearest option."""


def accepted_alias(name: str, possible: Container[str]) -> str:
    """The option of a command that has this name, or is meant by it; the name itself if there is none."""
    return name if name in possible else next((own for own in ACCEPTED.get(name, ()) if own in possible), name)
