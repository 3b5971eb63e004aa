"""The forecaster: all services of a region in arrays, one minute at a time.

Each minute every member forecasts every service, each member's bands are calibrated, their quantiles are averaged with
weights learned on line, and the average is calibrated once more. What was forecast is scored as the minutes come in,
so it learns whether or not anybody asks. State is plain arrays, a row per service.
"""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from springtide.forecast import calibration, history, holt, ridge, weights
from springtide.forecast.archive import BadArchive, pack_into, unpack
from springtide.forecast.checkpoint import Checkpoint, pretrained
from springtide.forecast.features import DAYS, Features, features
from springtide.forecast.horizon import DAY, HOUR, LEVELS, STEPS, Array, to_log, to_rates
from springtide.forecast.network import run_network

# Members, how many minutes of history each needs, and its first guess of the ratio to the last value's loss.
MEMBERS = ("last-value", "holt", "daily-shape", "ridge", "lstm")
_NEEDS = np.array([0, HOUR // 2, DAY + HOUR, DAY, DAY])
_PRIOR = np.array([1.0, 0.98, 1.05, 0.95, 0.93], dtype=np.float32)
_LSTM = MEMBERS.index("lstm")

_KIND, _VERSION = "forecaster state", 1
_SILENT = HOUR // 2  # minutes without a known value after which nothing is forecast
_CEILING = float(np.log(5))  # above the day's highest: what is beyond is absurd, not a forecast
_LOW = float(np.log1p(12))  # requests a minute that anything may reach

_ROW: dict[str, Array] = {
    "history": np.full(history.RING, np.nan, dtype=np.float32),
    "known": np.array([-1, -1]),  # first and newest minute that was known
    "issued": np.full((STEPS, len(MEMBERS) + 1, STEPS, len(LEVELS)), np.nan, dtype=np.float32),
    "weight": np.zeros((len(MEMBERS), STEPS, len(LEVELS)), dtype=np.float32),
    **calibration.row(len(MEMBERS) + 1),
    **weights.row(len(MEMBERS)),
    **holt.ROW,
    **ridge.ROW,
}


class Ensemble:
    """Forecasts the demand of any number of services; those never seen before are added as they come."""

    def __init__(self, checkpoint: Checkpoint | None = None, members: Collection[str] = MEMBERS) -> None:
        """Start without history, from the checkpoint that ships if none is given; only `members` are used."""
        unknown = set(members) - set(MEMBERS)
        if unknown or not members:
            raise ValueError(f"members are {', '.join(MEMBERS)}; not {', '.join(sorted(unknown)) or 'none'}")
        self.minute: int | None = None  # the newest observed one
        self._checkpoint = checkpoint or pretrained()
        self._used = np.array([member in members for member in MEMBERS])
        self._rows: dict[str, int] = {}
        self._state = {name: row[None][:0].copy() for name, row in _ROW.items()}

    @property
    def services(self) -> tuple[str, ...]:
        """The services that are known, in the order in which they came."""
        return tuple(self._rows)

    def observe(self, minute: int, demand: Mapping[str, float]) -> None:
        """Take in one minute, counted from 1970: requests a second by service, NaN or left out where unknown.

        Minutes that were skipped are unknown. Raises ValueError when the minute is not after the last one, or a demand
        is negative or infinite; nothing is changed then.
        """
        values = self._advance(minute, demand)
        if not len(values):
            return
        state = self._state
        recent = history.recent(state["history"], minute)
        # Where nothing has come for a while, nothing can be learned: every forecast of 0 is right.
        idle = np.fmax.reduce(recent[:, -STEPS:], axis=1, initial=0) == 0
        self._learn(minute, np.where(idle, np.nan, values))
        seen = features(recent, history.days(state["history"], minute), np.full(len(values), minute))
        ridge.update_ridge(state, self._checkpoint, recent, seen, minute)
        state["issued"][:, minute % STEPS] = self._forecast(minute, seen)

    def recall(self, first: int, demand: Mapping[str, Sequence[float]]) -> None:
        """Take in past minutes from `first` on, from a store of metrics: as history only, nothing is learned by it.

        Raises ValueError as `observe` does. Forecasts are made again with the next minute observed.
        """
        for offset in range(max(map(len, demand.values()), default=0)):
            self._advance(first + offset, {name: of[offset] for name, of in demand.items() if offset < len(of)})
            self._forget(first + offset)

    def predict(self) -> dict[str, Array]:
        """Return [STEPS, LEVELS] requests a second for the minutes after the newest observed one.

        A service of which nothing is known for half an hour is left out.
        """
        made = {name: self.explain(name).get("ensemble") for name in self._rows}
        return {name: rates for name, rates in made.items() if rates is not None}

    def explain(self, name: str) -> dict[str, Array]:
        """Return the forecasts of each member that has one, and of the ensemble; nothing for a silent service."""
        if self.minute is None or name not in self._rows:
            return {}
        row = self._rows[name]
        if self.minute - self._state["known"][row, 1] >= _SILENT:
            return {}
        issued = self._state["issued"][row, self.minute % STEPS]
        made = zip((*MEMBERS, "ensemble"), to_rates(issued), strict=True)
        return {member: rates for member, rates in made if np.isfinite(rates).all()}

    def weights(self, name: str) -> dict[str, Array]:
        """Return how much each member counts in a service's forecast, [STEPS, LEVELS]."""
        return dict(zip(MEMBERS, self._state["weight"][self._rows[name]], strict=True))

    def keep(self, names: Collection[str]) -> None:
        """Forget all services but these."""
        kept = [name for name in self._rows if name in names]
        if len(kept) == len(self._rows):
            return
        rows = [self._rows[name] for name in kept]
        for name, of in self._state.items():  # one after the other: never twice as large as it is
            self._state[name] = of[rows]
        self._rows = {name: row for row, name in enumerate(kept)}

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Go on from another checkpoint, None for the one that ships; what was learned of each service stays."""
        self._checkpoint = checkpoint or pretrained()

    def save(self) -> bytes:
        """Return everything but the checkpoint, for `restore`."""
        out = io.BytesIO()
        self.save_into(out)
        return out.getvalue()

    def save_into(self, file: BinaryIO) -> None:
        """Write what `save` returns, without having it whole in memory."""
        minute = np.array(-1 if self.minute is None else self.minute)
        names = np.array(list(self._rows), dtype=np.str_)
        rows = {f"row/{name}": of for name, of in self._state.items()}
        pack_into(file, _KIND, _VERSION, {"minute": minute, "names": names, **rows})

    @classmethod
    def restore(
        cls, data: bytes | BinaryIO, checkpoint: Checkpoint | None = None, members: Collection[str] = MEMBERS
    ) -> "Ensemble":
        """Return the forecaster that was saved, as bytes or in a file; raises BadArchive, and a new one can start."""
        arrays = unpack(_KIND, _VERSION, data)
        made = cls(checkpoint, members)
        try:
            names, minute = arrays["names"].tolist(), int(arrays["minute"])
            state = {name: arrays[f"row/{name}"] for name in _ROW}
        except KeyError as error:
            raise BadArchive(f"a {_KIND} without {error}") from None
        for name, row in _ROW.items():
            if state[name].shape != (len(names), *row.shape):
                raise BadArchive(f"a {_KIND} whose {name} is {state[name].shape}, not {(len(names), *row.shape)}")
        made.minute = None if minute < 0 else minute
        made._rows = {name: row for row, name in enumerate(names)}
        made._state = state
        return made

    def _advance(self, minute: int, demand: Mapping[str, float]) -> Array:
        """Make room, and write the minute into the history; return the logarithms by row, NaN where unknown."""
        if self.minute is not None and minute <= self.minute:
            raise ValueError(f"minute {minute} was observed before, the newest is {self.minute}")
        for name, value in demand.items():
            if value < 0 or value == float("inf"):
                raise ValueError(f"the demand of {name} is {value}, not a number of requests a second, 0 or more")
        self._add(name for name in demand if name not in self._rows)
        values = np.full(len(self._rows), np.nan, dtype=np.float32)
        values[[self._rows[name] for name in demand]] = to_log(np.array(list(demand.values()), dtype=np.float64))
        skipped = 0 if self.minute is None else minute - self.minute - 1
        state = self._state
        history.put(state["history"], minute, values, skipped)
        for late in range(minute - min(skipped, STEPS + 1), minute):
            self._forget(late)
        known, silent = np.isfinite(values), minute - state["known"][:, 1]
        holt.forget(state, silent > _SILENT)
        holt.update_holt(state, values, minute)
        # after a silence of more than the history is long, it is a new service
        state["known"][known & ((state["known"][:, 0] < 0) | (silent > DAYS * DAY)), 0] = minute
        state["known"][known, 1] = minute
        self.minute = minute
        return values

    def _forget(self, minute: int) -> None:
        """Forget what the rings hold in the places of a minute at which nothing was forecast."""
        self._state["issued"][:, minute % STEPS] = np.nan
        ridge.skip(self._state, minute)

    def _add(self, names: Iterable[str]) -> None:
        new = list(names)
        if new:
            self._rows |= {name: len(self._rows) + row for row, name in enumerate(new)}
            for name, of in self._state.items():
                rows = np.broadcast_to(_ROW[name], (len(new), *_ROW[name].shape))
                self._state[name] = np.concatenate([of, rows])

    def _learn(self, minute: int, truth: Array) -> None:
        """Score what was said of this minute in the STEPS minutes before."""
        steps = np.arange(STEPS)
        issued = np.moveaxis(self._state["issued"][:, (minute - 1 - steps) % STEPS, :, steps], 0, 2)
        calibration.update_calibration(self._state, issued, truth)
        weights.update_weights(self._state, issued[:, :-1], truth)

    def _forecast(self, minute: int, seen: Features) -> Array:
        """Return quantiles of each member and of the ensemble, [services, members + 1, STEPS, LEVELS]."""
        state = self._state
        points = np.stack(
            [
                np.repeat(seen.last[:, None], STEPS, axis=1),
                holt.forecast_holt(state),
                seen.shape,
                ridge.forecast_ridge(state, seen),
            ],
            axis=1,
        )
        quantiles = calibration.band(points, state["error"][:, :_LSTM])
        learned = run_network(self._checkpoint.network, seen)
        quantiles = calibration.calibrated(
            np.concatenate([quantiles, learned[:, None]], axis=1), state["factor"][:, :-1]
        )
        ceiling = np.maximum(history.highest(state["history"], minute), _LOW) + np.float32(_CEILING)
        age = minute - state["known"][:, :1] + 1
        usable = self._used & (age >= _NEEDS) & (quantiles[..., 0].max(axis=2) <= ceiling[:, None])  # NaN is not
        quantiles = np.minimum(quantiles, ceiling[:, None, None, None])
        state["weight"] = weights.weigh(state, usable, _PRIOR)
        # The distances from the median are averaged, not the quantiles: their weights differ, and they must not cross.
        quantiles_of_used = np.where(usable[:, :, None, None], quantiles, 0)
        apart = np.concatenate([quantiles_of_used[..., :1], quantiles_of_used[..., 1:] - quantiles_of_used[..., :1]], 3)
        mixed = np.einsum("nmsl,nmsl->nsl", state["weight"], apart)
        mixed[..., 1:] += mixed[..., :1]
        mixed = calibration.calibrated(calibration.unbiased(mixed, state["bias"]), state["factor"][:, -1])
        mixed = np.where(usable.any(axis=1)[:, None, None], np.minimum(mixed, ceiling[:, None, None]), np.nan)
        return np.concatenate([quantiles, mixed[:, None]], axis=1)
