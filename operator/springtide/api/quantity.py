"""Kubernetes quantities as exact numbers: `500m` and `0.5` are one amount of cpu."""

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO = Decimal("1e-9")


def parse_quantity(text: str | int) -> Decimal:
    """Return the amount that a quantity stands for; raises ValueError for anything else.

    Like the API server it rounds up to a billionth.
    """
    match = _FORM.match(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 2 or 4Gi")
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        amount = number * (1 << _BINARY[suffix])
    elif suffix in _DECIMAL:
        amount = number.scaleb(_DECIMAL[suffix])
    else:
        amount = number.scaleb(int(suffix[1:]))
    nanos = (amount / _NANO).to_integral_value(rounding=ROUND_CEILING)
    return nanos * _NANO


def canonical(text: str | int, *, places: int = 9) -> str:
    """Return a quantity as the API server keeps it: in its own kind of suffix, without a fraction, as short as can be.

    It is rounded up to so many decimal places: containers have their resources in thousandths.
    Raises ValueError for what is no quantity.
    Source: k8s.io/apimachinery/pkg/api/resource, Quantity.CanonicalizeBytes.
    """
    amount = parse_quantity(text).scaleb(places).to_integral_value(rounding=ROUND_CEILING).scaleb(-places)
    match = _FORM.match(str(text))
    suffix = match[2] or "" if match else ""
    if suffix in _BINARY and amount == int(amount) and abs(amount) >= 1024:
        shifts = [(name, bits) for name, bits in _BINARY.items() if int(amount) % (1 << bits) == 0]
        name, bits = shifts[-1] if shifts else ("", 0)
        return f"{int(amount) >> bits}{name}"
    exponents = {exponent: name for name, exponent in _DECIMAL.items()}
    exponent = next((one for one in sorted(exponents, reverse=True) if amount.scaleb(-one) % 1 == 0), -9)
    if amount == 0:
        exponent = 0
    mantissa = f"{amount.scaleb(-exponent):f}".split(".")[0]
    if suffix[:1] in {"e", "E"} and suffix not in _DECIMAL:
        return f"{mantissa}e{exponent}" if exponent else mantissa
    return f"{mantissa}{exponents[exponent]}"


def same_quantity(one: object, other: object) -> bool:
    """Tell whether both are quantities of the same amount."""
    if not isinstance(one, str | int) or not isinstance(other, str | int):
        return False
    try:
        return parse_quantity(one) == parse_quantity(other)
    except ValueError:
        return False
