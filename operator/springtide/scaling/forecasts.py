"""Which TrafficForecasts of a service scaling reads, what they come to, and what became of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from springtide.api.trafficforecast import FORECASTER
from springtide.scaling.decide import Decision
from springtide.scaling.floor import doubt
from springtide.scaling.launches import announced, expected
from springtide.scaling.outlook import Outlook
from springtide.scaling.settings import ScalingSettings
from springtide.scaling.statements import Statement, Verdict
from springtide.scaling.tuning import TUNING, Tuning

# Clocks differ.
_EARLY = 60.0


@dataclass(frozen=True)
class Reading:
    """What scaling gets of the TrafficForecasts of a service, and what became of each of them by its name.

    `chosen` is the name of the one that `outlook` is from.
    """

    outlook: Outlook | None = None
    announced: tuple[Outlook, ...] = ()
    chosen: str = ""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def read_forecasts(
    statements: Iterable[Statement], now: float, rate: float, lead: tuple[float, float], tuning: Tuning = TUNING
) -> Reading:
    """Return what is used of the statements at `now`, in Unix seconds.

    Of the outlooks that have begun and are not over, it is one that can be believed and reaches to the time when a
    replica that is created now is ready; of these one by another producer than our own forecaster; of these the one
    issued last.
    `rate` is what is measured, in requests a second, NaN while unknown; `lead` the time to Ready, p50 and p95 in
    seconds.
    """
    statements = sorted(statements, key=lambda one: one.name)
    doubts = {
        one.name: doubt(one.outlook, now, now + lead[0], rate, tuning.doubt)
        for one in statements
        if one.outlook is not None and _begins(one) <= now + _EARLY and one.outlook.until > now
    }
    chosen = _chosen([one for one in statements if one.name in doubts], doubts)
    outlook = chosen.outlook if chosen else None
    people, verdicts = [], {}
    for one in statements:
        if one.launch is None:
            verdicts[one.name] = _verdict(one, chosen, now, doubts.get(one.name, ""))
            continue
        baseline = expected(one, one.launch, outlook, now, rate, tuning)
        asked, verdicts[one.name] = announced(one, one.launch, now, lead[1] + tuning.tick, baseline)
        people += [asked] if asked else []
    return Reading(outlook, tuple(people), chosen.name if chosen else "", verdicts)


def judge(reading: Reading, settings: ScalingSettings, decision: Decision, trouble: str = "") -> Mapping[str, Verdict]:
    """Return the verdicts with what the settings and the decision made of what was read.

    `trouble` is why nothing is known of traffic, where that is known.
    """
    judged = {}
    for name, verdict in reading.verdicts.items():
        refused = _refused(settings, decision, trouble, series=name == reading.chosen) if verdict.used else None
        judged[name] = replace(refused, baseline=verdict.baseline) if refused else verdict
    return judged


def _chosen(candidates: Iterable[Statement], doubts: Mapping[str, str]) -> Statement | None:
    """Return the statement whose outlook is used, None where there is no candidate."""
    ranks = {(not doubts[one.name], one.producer != FORECASTER, one.issued, one.name): one for one in candidates}
    return ranks[max(ranks)] if ranks else None


def _begins(one: Statement) -> float:
    """Return from when on an outlook may be used."""
    return max(one.issued, one.outlook.issued) if one.outlook else one.issued


def _verdict(one: Statement, chosen: Statement | None, now: float, doubted: str) -> Verdict:
    """Return what became of an outlook."""
    if one.outlook is None or one.outlook.until <= now:
        return Verdict(False, "Expired", "its last step is over, and nothing newer was written")
    if _begins(one) > now + _EARLY:
        return Verdict(False, "NotStarted", "issuedAt, or the time of its first step, has not come yet")
    if chosen is None or chosen is one:
        return Verdict(True, "Used", "scaling reads it")
    instead = f"scaling reads {chosen.name} by {chosen.producer} instead"
    if doubted:
        return Verdict(False, "Doubted", f"{doubted}; {instead}", fleeting=True)
    older = one.producer != FORECASTER or chosen.producer == FORECASTER
    why = "which is newer" if older else "which goes before Springtide's own"
    return Verdict(False, "Superseded", f"{instead}, {why}")


def _refused(settings: ScalingSettings, decision: Decision, trouble: str, *, series: bool) -> Verdict | None:
    """Return why what could be used is not; None when it is."""
    if settings.mode == "Off":
        return Verdict(False, "ScalingOff", "spec.scaling.mode of the ModelService is Off")
    if not any(pool.most > pool.least for pool in settings.pools):
        message = "no pool of the ModelService has replicas.max above replicas.min, so none is scaled"
        return Verdict(False, "NothingToScale", message)
    if settings.forecast == "Off":
        return Verdict(False, "ForecastsOff", "spec.scaling.forecast of the ModelService is Off")
    if ("rate" if series else "announced") not in decision.inputs:
        message = f"{trouble}; replicas are held" if trouble else decision.message
        return Verdict(False, decision.reason, message, fleeting=True)
    if settings.mode == "Observe" or (series and settings.forecast == "Observe"):
        return Verdict(False, "Observed", "the ModelService's spec.scaling says Observe: decisions only tell of it")
    if series and decision.doubt:
        return Verdict(False, "Doubted", f"{decision.doubt}; live metrics alone decide", fleeting=True)
    return None
