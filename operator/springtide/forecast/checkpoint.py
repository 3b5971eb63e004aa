"""What was learned from many services before: the network's weights, and what a ridge regression needs of its data.

The checkpoint that ships, `pretrained.npz`, is made by hack/pretrain.py from synthetic series and from the first days
of these traces, which docs/forecast.md names and which no figure of ours is measured on:

- Azure LLM inference 2024 (chat), days 1 to 3: Azure/AzurePublicDataset, CC-BY-4.0; Stojkovic et al., HPCA 2025
- ServeGen m_mid and m_small, days 1 to 7: alibaba/ServeGen, Apache-2.0; Xiang et al., ServeGen, NSDI 2026
- World Cup 98 web site, days 1 to 40: CC-BY-4.0; Arlitt and Jin, HPL-1999-35
- NASA HTTP logs, July 1995: the Internet Traffic Archive
"""

from dataclasses import dataclass, fields
from importlib.resources import files

import numpy as np

from springtide.forecast.archive import BadArchive, pack, unpack
from springtide.forecast.features import CONTEXT, LINEAR, PATCH
from springtide.forecast.horizon import LEVELS, STEPS, Array
from springtide.forecast.network import Network

_KIND, _VERSION = "forecast checkpoint", 1


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained start."""

    network: Network
    gram: Array  # [LINEAR, LINEAR], mean of the products of the ridge's inputs
    cross: Array  # [LINEAR, STEPS], mean of its inputs times its targets


def dump_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint's file."""
    weights = {f"network/{one.name}": getattr(checkpoint.network, one.name) for one in fields(Network)}
    return pack(_KIND, _VERSION, {**weights, "gram": checkpoint.gram, "cross": checkpoint.cross})


def load_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint; raises BadArchive when the content is damaged or doesn't fit this version."""
    arrays = unpack(_KIND, _VERSION, data)
    try:
        network = Network(**{one.name: arrays[f"network/{one.name}"] for one in fields(Network)})
        checkpoint = Checkpoint(network, arrays["gram"], arrays["cross"])
    except KeyError as error:
        raise BadArchive(f"a {_KIND} without {error}") from None
    hidden, dense = network.recurrent.shape[-1], len(network.dense)
    shapes = {
        "input": (4 * hidden, PATCH + 1),
        "recurrent": (4 * hidden, hidden),
        "gate_bias": (4 * hidden,),
        "dense": (dense, hidden + CONTEXT),
        "dense_bias": (dense,),
        "output": (STEPS * len(LEVELS), dense),
        "output_bias": (STEPS * len(LEVELS),),
        "skip": (STEPS,),
    }
    found = {name: getattr(network, name) for name in shapes} | {"gram": checkpoint.gram, "cross": checkpoint.cross}
    for name, shape in (shapes | {"gram": (LINEAR, LINEAR), "cross": (LINEAR, STEPS)}).items():
        if found[name].shape != shape:
            raise BadArchive(f"a {_KIND} whose {name} is {found[name].shape}, not {shape}")
        if not np.isfinite(found[name]).all():
            raise BadArchive(f"a {_KIND} whose {name} holds NaN or infinity")
    return checkpoint


def pretrained() -> Checkpoint:
    """Return the checkpoint that ships with the package."""
    return load_checkpoint(files(__package__).joinpath("pretrained.npz").read_bytes())
