"""The few kinds of failure that a reconcile knows: each has one condition reason, and one requeue policy."""


class SpringtideError(Exception):
    """A failure with a reason for a condition and a message for a person."""

    reason = "InternalError"


class Invalid(SpringtideError):
    """The object can't be acted on as it is written; nothing helps but an edit."""

    reason = "InvalidSpec"


class Missing(SpringtideError):
    """Something that the object refers to does not exist."""

    reason = "ReferenceNotFound"


class Conflict(SpringtideError):
    """Someone wrote in between: look again and decide again."""

    reason = "Conflict"


class NameConflict(SpringtideError):
    """A child's name is taken by an object that is not ours, which we never touch."""

    reason = "NameConflict"


class Forbidden(SpringtideError):
    """The operator lacks a permission, or an admission policy or a quota refused the write."""

    reason = "Forbidden"


class Unavailable(SpringtideError):
    """The API server did not answer, or asked us to come back later."""

    reason = "Unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Silent(SpringtideError):
    """Replicas are ready, yet nothing answers through the route that clients use."""

    reason = "RouteNotAnswering"


class Bug(SpringtideError):
    """An error of ours: it is logged in full, and no other service suffers."""

    reason = "InternalError"
