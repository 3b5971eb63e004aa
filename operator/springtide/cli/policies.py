"""What each policy of a simulation is."""

from collections.abc import Callable

from springtide.forecast.ensemble import Ensemble
from springtide.forecast.naive import LastValue
from springtide.simulation.peers import DynamoPlanner, HorizontalPodAutoscaler, KnativePodAutoscaler, Static
from springtide.simulation.run import Policy, Scenario
from springtide.simulation.score import hindsight
from springtide.simulation.springtide import Forecaster, Springtide


def policy(name: str, scenario: Scenario, ours: Callable[[Forecaster | None], Springtide]) -> Policy:
    """Return a policy that has seen nothing yet; `ours` makes one of Springtide with a forecaster, or without."""
    match name:
        case "hpa":
            return HorizontalPodAutoscaler()
        case "knative-kpa":
            return KnativePodAutoscaler()
        case "dynamo-planner":
            return DynamoPlanner(scenario.slo)
        case "static":
            return Static(hindsight(scenario))
        case "springtide":
            return ours(Ensemble())
        case "springtide-last-value":
            return ours(LastValue())
        case "springtide-reactive":
            return ours(None)
    raise ValueError(f"{name} is no policy")
