"""Training as a job: the past from Prometheus, a candidate, and the gate that lets only a better one take the place."""

import logging
from pathlib import Path

import numpy as np
import torch

from springtide.clients.prometheus import Prometheus
from springtide.forecast.archive import BadArchive
from springtide.forecast.checkpoint import Checkpoint, dump_checkpoint, load_checkpoint, pretrained
from springtide.forecast.horizon import DAY
from springtide.forecast.train import Plan, refit
from springtide.forecaster.files import replace_file
from springtide.forecaster.past import join_pieces, read_pieces

logger = logging.getLogger(__name__)

# Of the present checkpoint: what it has learned is kept, and moved a little.
PLAN = Plan(steps=400, rate=5e-4)


async def train_once(prometheus: Prometheus, checkpoint: Path, now: float, days: int, most_services: int) -> int:
    """Learn from the days before `now`, in unix seconds; return the exit code.

    What is better than the checkpoint in the file, or than the one that ships where there is none, takes its place.
    """
    end = int(now // 60)
    first = end - days * DAY
    series = await join_pieces(read_pieces(prometheus, first, end), first, end)
    if not series:
        logger.error("nothing is learned: Prometheus knows of no demand in the last %d days", days)
        return 1
    busiest = sorted(series, key=lambda service: float(np.nansum(series[service])), reverse=True)[:most_services]
    known = sum(int(np.isfinite(series[service]).sum()) for service in busiest)
    logger.info("learning from %d minutes of %d of %d services", known, len(busiest), len(series))
    torch.set_num_threads(1)
    present = _present(checkpoint)
    try:
        chosen, verdicts = refit(present, [series[service] for service in busiest], PLAN, first)
    except ArithmeticError as error:
        logger.error("nothing is promoted: %s", error)
        return 1
    for verdict in verdicts:
        logger.info("%s", verdict)
    if not verdicts:
        logger.info("nothing is promoted: no service is known in the last day and a day before")
    if any(verdict.promoted for verdict in verdicts):
        data = dump_checkpoint(chosen)
        replace_file(checkpoint, lambda file: file.write(data))
        logger.info("%s is written", checkpoint)
    return 0


def _present(file: Path) -> Checkpoint:
    try:
        return load_checkpoint(file.read_bytes())
    except FileNotFoundError:
        return pretrained()
    except (BadArchive, OSError) as error:
        logger.error("it starts from the checkpoint that ships: %s can't be used: %s", file, error)
        return pretrained()
