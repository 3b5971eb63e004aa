"""What the command line says about the engines, without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GenerateSettings:
    """Bounds of the steps, and what the KV cache may take. 0 is what the device and its memory allow."""

    sequences: int = 0
    step_tokens: int = 0
    cache_mebibytes: int = 0
    host_mebibytes: int = 0
    share_prefixes: bool = True
    memory_percent: int = 90
