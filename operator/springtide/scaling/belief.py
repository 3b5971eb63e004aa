"""Which numbers may be believed."""

_MOST = 1e12


def known(number: float) -> bool:
    """Tell whether it may be a count, a rate or an age: not NaN, not below 0, and nothing that no service ever had."""
    return 0 <= number < _MOST
