"""The two kinds of error that people see: a request that is refused, and a model that can't be served."""


class RequestError(Exception):
    """A request is refused; the client gets it in OpenAI's error shape.

    `param` names the field at fault, as `messages[0].role`; the message says what to do.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type, self.param, self.code = status, message, type, param, code
        self.retry_after_seconds = retry_after_seconds

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """OpenAI's error object."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After where waiting helps."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


def internal_error() -> RequestError:
    """What a client learns of a fault of ours; the log has the rest."""
    return RequestError(500, "The server failed on this request; its log says why", type="server_error")


class ModelError(Exception):
    """The model can't be loaded; the message is one line that names the file or folder and says what to do."""
