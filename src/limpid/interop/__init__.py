"""Models to and from other programs: one file for each format, and the names of tensors there and here."""

__all__ = [
    "diffusers_folder",
    "diffusers_import",
    "diffusers_scheduler",
    "edm",
    "foreign",
    "foreign_model",
    "onnx",
    "openai",
    "persistent_pickle",
    "pytorch_ddpm",
    "run_history",
    "sampler_table",
    "score_sde",
    "tensorboard_events",
    "torch_export",
    "torch_file",
    "unet2d",
    "unet2d_names",
    "unet_parts",
    "wandb_run",
]
