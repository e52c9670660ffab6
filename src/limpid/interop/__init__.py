"""Models to and from other programs: one file for each format, and the names of tensors there and here."""

__all__ = [
    "diffusers_folder",
    "diffusers_scheduler",
    "onnx",
    "sampler_table",
    "torch_export",
    "unet2d",
    "unet2d_names",
]
