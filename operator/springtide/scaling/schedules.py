"""Times of the week at which a pool keeps more replicas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DAY = 1440
WEEK = 7 * DAY


@dataclass(frozen=True)
class Schedule:
    """On `days` (Monday is 0), from minute `start` to minute `end` of the day there, `pool` keeps `least` replicas.

    An end that is not after the start is on the next day.
    """

    name: str
    pool: str
    timezone: str
    days: tuple[int, ...]
    start: int
    end: int
    least: int


def applies(schedule: Schedule, week_minute: float, lead_minutes: float = 0.0) -> bool:
    """Tell whether it holds now or begins within the lead, so that what it asks for is Ready when it begins."""
    length = (schedule.end - schedule.start) % DAY or DAY
    for day in schedule.days:
        begin = day * DAY + schedule.start
        if (week_minute - begin) % WEEK < length or (begin - week_minute) % WEEK <= lead_minutes:
            return True
    return False


def scheduled(
    schedules: Iterable[Schedule], week_minutes: Mapping[str, float], lead_minutes: float
) -> tuple[dict[str, int], str]:
    """Return the replicas that each pool keeps by its schedules, and the name of one that holds.

    A schedule whose timezone has no time in `week_minutes` does not hold.
    """
    least: dict[str, int] = {}
    name = ""
    for one in schedules:
        minute = week_minutes.get(one.timezone)
        if minute is not None and applies(one, minute, lead_minutes) and one.least > least.get(one.pool, 0):
            least[one.pool] = one.least
            name = one.name
    return least, name
