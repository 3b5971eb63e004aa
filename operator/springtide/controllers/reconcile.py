"""One reconcile of one ModelService: gather → decide → apply → report.

It looks at the world, never at the event that woke it, so running it twice is harmless and running it late is enough.
"""

import logging
from collections.abc import Callable
from typing import Any

from springtide.api.errors import Bug, Conflict, Invalid, NameConflict, Silent, SpringtideError, Unavailable
from springtide.api.time import unix_seconds
from springtide.clients.cluster import ACCOUNT, CHILDREN, DEPLOYMENT, MODEL_SERVICE, REVISION, Cluster, Kind
from springtide.clients.route import Route
from springtide.controllers.cache import Cache, Entry, Name, Written, reduce
from springtide.controllers.events import Recorder
from springtide.controllers.observing import Senses
from springtide.controllers.planning import KINDS, Plan, World, child_key, decide
from springtide.controllers.sensing import Sensing
from springtide.controllers.status import write_status
from springtide.controllers.subject import note
from springtide.controllers.verdicts import Verdicts
from springtide.manifests.names import POOL_LABEL
from springtide.manifests.services import route_url
from springtide.manifests.settings import Settings
from springtide.status.compute import compute_outage, compute_refusal, compute_status
from springtide.status.forecasts import NO_PLAN, NO_SERVICE
from springtide.status.observed import ObservedDeployment, ObservedPod

logger = logging.getLogger(__name__)


class Reconciler:
    """Moves the cluster toward what ModelServices ask for."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        settings: Settings,
        clock: Callable[[], str],
        route: Route | None = None,
        applied: Callable[[Entry[Written]], None] = lambda _: None,
        sensing: Sensing | None = None,
    ) -> None:
        """`route` is None where the operator can't ask what clients ask: outside the cluster.

        `applied` is called with each ModelService that has all its children as it asks for them. Without `sensing`
        nothing is known of traffic.
        """
        self._cluster = cluster
        self._route = route
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._applied = applied
        self._sensing = sensing
        self._recorder = Recorder(cluster)
        self._verdicts = Verdicts(cluster, cache, clock)

    async def reconcile(self, key: Name) -> SpringtideError | None:
        """Reconcile one ModelService; return what went wrong, for the queue to decide when to try again."""
        world = self._gather(key)
        if world is None:
            return await self._verdicts.report(key, {}, NO_SERVICE)
        note(generation=world.entry.value.metadata["generation"])
        try:
            plan = decide(world, self._settings)
            if plan.scaled and plan.scaled.scales and self._sensing:
                self._sensing.keep(world.entry, plan.scaled.decision)
            error = plan.error or await self._apply(world, plan)
        except Exception as bug:
            logger.exception("reconcile failed")
            plan = Plan()
            error = Bug(f"the operator failed on this object: {type(bug).__name__}: {bug}")
        if error is None:
            self._applied(world.entry)
        if isinstance(error, Conflict) and world.entry.value.status.get("conditions"):
            return error  # It comes again at once, with what is true by then.
        outcome = await self._report(world, plan, error)
        judged = await self._verdicts.report(key, plan.verdicts, NO_PLAN if plan.service is None else None)
        return outcome or judged

    def _gather(self, key: Name) -> World | None:
        entry = self._cache.model_services.get(key)
        # The children of a service that is being deleted go with it, by their owner references.
        if entry is None or entry.deleting:
            return None
        children = {
            (kind.kind, child.name): child
            for kind in CHILDREN
            for child in self._cache.store(kind).of(key)
            if child.owner == entry.uid
        }
        senses = self._sensing.senses(entry) if self._sensing else Senses()
        forecasts = (one.value.statement for one in self._cache.forecasts.of(key) if not one.deleting)
        statements = [one for one in forecasts if one is not None]
        return World(entry, children, *self._observed(entry), senses, statements, unix_seconds(self._clock()))

    async def _apply(self, world: World, plan: Plan) -> SpringtideError | None:
        errors: list[SpringtideError] = []
        blocked: set[str] = set()
        for desired in plan.apply:
            kind, pool = desired["kind"], desired["metadata"]["labels"].get(POOL_LABEL, "")
            # Pods never run under an account that is not ours; and what was refused is not worth remembering.
            if kind in {DEPLOYMENT.kind, REVISION.kind} and not blocked.isdisjoint({"", pool}):
                continue
            try:
                await self._apply_one(world, desired)
            except SpringtideError as error:
                errors.append(error)
                if kind in {ACCOUNT.kind, DEPLOYMENT.kind}:
                    blocked.add(pool)
        # What is no longer wanted may be all that serves while its successor can't be written.
        if plan.delete and not errors:
            try:
                await self._delete(world, plan)
            except SpringtideError as error:
                errors.append(error)
        # One that a person has to solve says more than one that passes.
        return min(errors, key=lambda error: isinstance(error, Conflict | Unavailable), default=None)

    async def _apply_one(self, world: World, desired: dict[str, Any]) -> None:
        kind, name = KINDS[desired["kind"]], desired["metadata"]["name"]
        child = world.children.get(child_key(desired))
        uid = child.uid if child else await self._adoptable(world, kind, name)
        try:
            live = await self._cluster.apply(kind, desired, uid=uid)
        except Conflict:
            # The object was replaced meanwhile: what the cache holds of it is wrong.
            await self._look_again(kind, world.entry.name[0], name)
            raise
        except Invalid as error:
            raise Invalid(f"{kind.kind} {name} is refused: {error}") from error
        self._cache.put(kind, live)
        logger.info("applied %s %s", kind.kind, name)

    async def _adoptable(self, world: World, kind: Kind, name: str) -> str | None:
        """Return the uid of the live object of that name if it is ours, None if there is none."""
        live = await self._cluster.get(kind, world.entry.name[0], name)
        if live is None:
            return None
        child = reduce(kind, live)
        if child.owner != world.entry.uid:
            raise NameConflict(
                f"{kind.kind} {name} exists and does not belong to this ModelService; nothing was changed: "
                "delete or rename it, or rename the ModelService"
            )
        return child.uid

    async def _delete(self, world: World, plan: Plan) -> None:
        """Delete what is no longer wanted, unless the service is not what the cache has: then look again."""
        entry = world.entry
        live = await self._cluster.get(MODEL_SERVICE, *entry.name)
        metadata = live["metadata"] if live else {}
        if (metadata.get("uid"), metadata.get("generation")) != (entry.uid, entry.value.metadata["generation"]):
            raise Conflict("the ModelService changed meanwhile")
        for kind, child in plan.delete:
            await self._cluster.delete(kind, *child.name, uid=child.uid)
            logger.info("deleted %s %s", kind.kind, child.name[1])

    async def _look_again(self, kind: Kind, namespace: str, name: str) -> None:
        live = await self._cluster.get(kind, namespace, name)
        store = self._cache.store(kind)
        if live is not None:
            self._cache.put(kind, live)
        elif (present := store.get((namespace, name))) is not None:
            store.remove(present.name, present.version)

    async def _report(self, world: World, plan: Plan, error: SpringtideError | None) -> SpringtideError | None:
        """Write the status if it differs; return what the key has to come again for."""
        silence = await self._silence(world, plan)
        entry = self._cache.model_services.get(world.entry.name)
        if entry is None or entry.uid != world.entry.uid:
            return None
        written, now = entry.value, self._clock()
        deployments, pods = self._observed(entry)
        if plan.service is None:
            problem = error or Bug("nothing was planned")
            generation = written.metadata["generation"]
            status = compute_refusal(problem, generation, pods, written.status, now, silence)
        elif isinstance(error, Unavailable) and written.status.get("conditions"):
            status = compute_outage(
                plan.service, plan.pools, deployments, pods, written.status, now, silence, plan.scaled
            )
        else:
            status = compute_status(
                plan.service, plan.pools, deployments, pods, error, written.status, now, silence, plan.scaled
            )
        outcome = error or (Silent(silence) if silence else None)
        try:
            if await write_status(self._cluster, self._cache, MODEL_SERVICE, entry, status):
                await self._recorder.record(entry, status, now)
        except SpringtideError as failed:
            return failed
        return outcome

    async def _silence(self, world: World, plan: Plan) -> str:
        """Return why nothing answers through the route; empty as well when no pod could."""
        ready = [pod for pod in self._observed(world.entry)[1] if pod.ready and not pod.deleting]
        if self._route is None or plan.service is None or not ready:
            return ""
        known = any(one["reason"] == Silent.reason for one in world.entry.value.status.get("conditions", ()))
        return await self._route.silence(route_url(plan.service, plan.pools), attempts=1 if known else 3)

    def _observed(self, entry: Entry[Written]) -> tuple[dict[str, ObservedDeployment], list[ObservedPod]]:
        prefix = f"{entry.name[1]}-"
        deployments = {
            child.name[1].removeprefix(prefix): child.value
            for child in self._cache.deployments.of(entry.name)
            if child.owner == entry.uid
        }
        # Labels can be anyone's: only what a Deployment of ours made counts.
        pods = [pod.value for pod in self._cache.pods.of(entry.name)]
        return deployments, [pod for pod in pods if pod.owner.startswith(f"{prefix}{pod.pool}-")]
