"""How the operator runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from springtide.clients.prometheus import Prometheus
from springtide.controllers.lease import Election
from springtide.controllers.liveness import PERIOD_SECONDS
from springtide.manifests.settings import Settings

_DEFINITION_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """How the operator runs; what shows in child objects is in `settings`.

    No namespaces means all of them, port 0 any free one, no election that this operator is the only one, no Prometheus
    that nothing is known of traffic, so that replicas are held.
    """

    settings: Settings
    namespaces: Sequence[str] = ()
    health_port: int = 8080
    election: Election | None = None
    resync_seconds: float = PERIOD_SECONDS
    definition_seconds: float = _DEFINITION_SECONDS
    prometheus: Prometheus | None = None
