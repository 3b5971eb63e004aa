"""When to leave a service alone that keeps failing. Pure: the time is given, in seconds."""

FAILURES = 5
SECONDS = 5.0


class Breaker:
    """Opens after so many failures in a row; lets one try through each time so many seconds have passed."""

    def __init__(self, failures: int = FAILURES, seconds: float = SECONDS) -> None:
        self._allowed, self._seconds = failures, seconds
        self._failed = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether the service is left alone."""
        return self._failed >= self._allowed

    def allows(self, now: float) -> bool:
        """Whether to call now. While it is open the one who is allowed to is the only one for some seconds."""
        if not self.open:
            return True
        if now < self._until:
            return False
        self._until = now + self._seconds
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """A call was not."""
        self._failed += 1
        if self.open:
            self._until = now + self._seconds
