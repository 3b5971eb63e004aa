"""A model in a quantised precision, if that costs no more accuracy than is allowed."""

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from springtide_server.engine.accuracy import check_outputs
from springtide_server.engine.quantize import quantize
from springtide_server.errors import ModelError
from springtide_server.precision import Outcome, Plain, PrecisionPolicy, Quantised

log = logging.getLogger(__name__)


def lower(
    folder: Path,
    module: nn.Module,
    asked: Quantised,
    policy: PrecisionPolicy,
    plain: Plain,
    measure: Callable[[], Tensor],
    drop_of: Callable[[Tensor, Tensor], float],
) -> Outcome:
    """Quantise the module in place; `drop_of` compares what `measure` gives before and after.

    Where that costs too much, the outcome's `used` is `plain`, in which the module was, and it has to be read again:
    keeping the original weights would need the memory that is to be saved. Raises ModelError.
    """
    before = measure()
    check_outputs(before, folder, plain)
    try:
        quantize(module, asked, compiled=policy.compile)
    except ValueError as error:
        raise ModelError(f"{folder} can't be served in {asked}: {error}; use --precision {plain}") from None
    drop = drop_of(before, measure())
    fields = {"precision": asked, "drop_percent": round(100 * drop, 3), "limit_percent": policy.max_drop_percent}
    if 100 * drop <= policy.max_drop_percent:
        log.info("accuracy measured", extra={"fields": fields})
        return Outcome(asked, asked, drop)
    if policy.fallback == "None":
        raise ModelError(
            f"{folder} loses {100 * drop:.3g} % of its accuracy in {asked}, more than {policy.max_drop_percent:g} %; "
            f"use --precision {plain}, allow more with --precision-max-drop-percent, or use --precision-fallback Auto"
        )
    log.warning("accuracy drops too much: falling back", extra={"fields": {**fields, "used": plain}})
    return Outcome(asked, plain, drop)
