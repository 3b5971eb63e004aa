"""The child objects of a ModelService, in the order in which they are applied.

Per pool a Deployment, a Service and a PodDisruptionBudget, all called SERVICE-POOL: who wants one pool in particular,
such as an offline job, asks it by name. With the name of the ModelService the account of all its pods, the ConfigMap of
their runtime policy, their NetworkPolicy, and one Service over the Realtime and Fallback pools: the address that
clients use, which stays when pools come and go. It is left out when every pool is Offline, since nothing would ever
answer there.

A ControllerRevision comes after its Deployment, so that only a template which the API server took is remembered.
"""

from collections.abc import Sequence
from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.batching import policy_map
from springtide.manifests.policies import disruption_budget, network_policy, service_account
from springtide.manifests.revisions import PoolPlan, Record, history
from springtide.manifests.services import common_service, pool_service
from springtide.manifests.settings import Settings
from springtide.manifests.workloads import deployment


def build(
    service: ModelService, plans: Sequence[PoolPlan], settings: Settings, records: Sequence[Record] = ()
) -> list[dict[str, Any]]:
    """Return every child that the service should have: the same list for the same input."""
    children = [service_account(service)]
    if settings.network_policies:
        children.append(network_policy(service, settings))
    if any(plan.pool.profile.takes_policy for plan in plans):
        children.append(policy_map(service))
    for plan in plans:
        children += [
            deployment(service, plan),
            pool_service(service, plan.pool),
            disruption_budget(service, plan.pool),
        ]
    if any(plan.pool.online for plan in plans):
        children.append(common_service(service))
    return children + history(service, plans, records)


# The fields that an API server never lets anyone change: a child that differs there is deleted and made anew.
IMMUTABLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "ControllerRevision": (("data",),),
}
