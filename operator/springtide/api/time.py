"""Points in time as the API writes them: RFC 3339, read without a clock at hand."""

import re
from calendar import monthrange, timegm
from math import isnan, nan
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

# As the format date-time, but of years that are meant, and without leap seconds.
_TIME = (
    r"^2[0-9]{3}-(0[1-9]|1[0-2])-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_PARTS = re.compile(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)(\.\d+)?(?:Z|([+-])(\d+):(\d+))")


def unix_seconds(text: object) -> float:
    """Return the Unix time of a point in time, NaN for anything else."""
    parts = _PARTS.fullmatch(text) if isinstance(text, str) and re.search(_TIME, text) else None
    if parts is None:
        return nan
    year, month, day, hour, minute, second = (int(part) for part in parts.groups()[:6])
    if not 1 <= day <= monthrange(year, month)[1]:
        return nan
    fraction, sign, hours, minutes = parts.groups()[6:]
    ahead = (3600 * int(hours or 0) + 60 * int(minutes or 0)) * (-1 if sign == "-" else 1)
    return timegm((year, month, day, hour, minute, second)) - ahead + float(fraction or 0)


def _checked(text: str) -> str:
    if isnan(unix_seconds(text)):
        raise PydanticCustomError("time", "must be a point in time such as 2026-12-01T20:00:00Z")
    return text


Time = Annotated[
    str,
    Field(min_length=20, max_length=40, pattern=_TIME, json_schema_extra={"format": "date-time"}),
    AfterValidator(_checked),
]
