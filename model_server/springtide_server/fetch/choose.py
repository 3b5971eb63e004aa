"""Which files of a model are left out: those that transformers never reads when there are safetensors.

The same weights often lie beside each other in several formats, and each costs its whole size. Only what is listed here
is left out; all else is fetched.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

# Left out where the same folder holds safetensors: a part of a model in a folder of its own may have nothing else.
BESIDE_SAFETENSORS = (
    "*.bin",  # PyTorch's pickles; training_args.bin as well
    "*.bin.index.json",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.h5",  # TensorFlow
    "*.h5.index.json",
    "*.msgpack",  # Flax
    "*.msgpack.index.json",
    "*.ot",  # Rust
    "*.pdparams",  # Paddle
)
# Left out anywhere when the model's own folder holds safetensors: for other programs than ours.
OTHER_FORMATS = ("*.gguf", "*.mlmodel", "*.onnx", "*.onnx.data", "*.onnx_data", "*.onnx_data_*", "*.tflite")
OTHER_FOLDERS = ("coreml", "metal", "onnx", "openvino", "original")
# The same weights once more, in the format of those who trained them; left out beside model*.safetensors.
ORIGINAL_WEIGHTS = "consolidated*.safetensors"


def wanted(paths: Iterable[str]) -> set[str]:
    """Those of a model's paths that are to be fetched."""
    visible = [PurePosixPath(path) for path in paths if not any(part.startswith(".") for part in path.split("/"))]
    folders = {path.parent for path in visible if path.suffix == ".safetensors"}
    converted = any(fnmatchcase(str(path), "model*.safetensors") for path in visible)
    return {str(path) for path in visible if not _useless(path, folders, converted)}


def _useless(path: PurePosixPath, folders: set[PurePosixPath], converted: bool) -> bool:
    if path.parent in folders and any(fnmatchcase(path.name, pattern) for pattern in BESIDE_SAFETENSORS):
        return True
    if converted and fnmatchcase(str(path), ORIGINAL_WEIGHTS):
        return True
    if PurePosixPath() not in folders:
        return False
    in_folder = len(path.parts) > 1 and path.parts[0] in OTHER_FOLDERS
    return in_folder or any(fnmatchcase(path.name, pattern) for pattern in OTHER_FORMATS)
