"""The maximum of a value over the last minutes."""

Window = tuple[tuple[float, float], ...]


def push(window: Window, now: float, value: float, length: float) -> Window:
    """Return the window with one more value; it keeps only what can still become its maximum, and is as long as that.

    Its items are (seconds, value), the oldest and largest first.
    """
    kept = [(time, one) for time, one in window if time > now - length and one > value]
    return (*kept, (now, value))


def largest(window: Window) -> float:
    """Return the maximum, 0 of an empty window."""
    return window[0][1] if window else 0.0
