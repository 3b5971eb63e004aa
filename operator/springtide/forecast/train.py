"""Training of the network and the ridge, with torch; nothing else of this package needs it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from springtide.forecast.checkpoint import Checkpoint
from springtide.forecast.dataset import Rows, rows_of, taken, together
from springtide.forecast.features import CONTEXT, PATCH, REFERENCE, REFERENCES, Features
from springtide.forecast.gate import Verdict, promote
from springtide.forecast.horizon import DAY, LEVELS, STEPS, WEEK, Array
from springtide.forecast.network import Network, run_network
from springtide.forecast.ridge import targets
from springtide.forecast.synthetic import synthetic

_TOLERANCE = 1e-3  # in scales: how far numpy and torch may differ


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int = 1500
    batch: int = 512
    rate: float = 3e-3
    hidden: int = 48
    dense: int = 48
    rows: int = 100_000  # at most, over all series
    seed: int = 1


class Model(nn.Module):
    """The network in torch; `network` and `of` carry its weights to numpy and back."""

    def __init__(self, hidden: int, dense: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(PATCH + 1, hidden, batch_first=True)
        self.dense = nn.Linear(hidden + CONTEXT, dense)
        self.output = nn.Linear(dense, STEPS * len(LEVELS))
        self.skip = nn.Parameter(torch.zeros(STEPS))
        nn.init.normal_(self.output.weight, std=0.02)

    def forward(self, patches: Tensor, context: Tensor) -> Tensor:
        """Return the quantiles' distances from the last value in scales, [rows, STEPS, LEVELS]."""
        _, (hidden, _) = self.lstm(patches)
        dense = torch.tanh(self.dense(torch.cat([hidden[0], context], dim=1)))
        outputs = self.output(dense).view(-1, STEPS, len(LEVELS))
        steps = torch.cat([outputs[:, :, :1], nn.functional.softplus(outputs[:, :, 1:])], dim=2)
        return steps.cumsum(dim=2) + (self.skip * patches[:, -1, -2:-1])[:, :, None]

    def network(self) -> Network:
        """Return the weights for numpy."""
        given, recurrent, bias, other_bias = self.lstm.all_weights[0]
        made = (
            given,
            recurrent,
            bias + other_bias,
            self.dense.weight,
            self.dense.bias,
            self.output.weight,
            self.output.bias,
            self.skip,
        )
        return Network(*(one.detach().numpy().astype(np.float32) for one in made))

    @classmethod
    def of(cls, network: Network) -> "Model":
        """Return the model with these weights."""
        model = cls(network.recurrent.shape[1], len(network.dense))
        given, recurrent, bias, other_bias = model.lstm.all_weights[0]
        dense, output = model.dense, model.output
        places = (given, recurrent, bias, dense.weight, dense.bias, output.weight, output.bias, model.skip)
        with torch.no_grad():
            other_bias.zero_()
            for place, one in zip(places, fields(Network), strict=True):
                place.copy_(torch.from_numpy(getattr(network, one.name)))
        return model


def refit(
    present: Checkpoint, series: Sequence[Array], plan: Plan, first_minute: int = 0
) -> tuple[Checkpoint, list[Verdict]]:
    """Return the checkpoint to go on with after learning from series of requests a second by minute.

    Each series' last day is not learned from: it judges whether the result replaces the present checkpoint. A series
    needs two days to count.
    """
    long = [rates for rates in series if len(rates) >= 2 * DAY]
    random = np.random.default_rng(plan.seed)
    learned, held_out = [], []
    for rates in long:
        before = _some(len(rates) - DAY - STEPS, plan.rows // len(long), random)
        learned.append(rows_of(rates, before, first_minute))
        held_out.append(rows_of(rates, np.arange(len(rates) - DAY, len(rates), 5), first_minute))
    held_out = [rows for rows in held_out if len(rows.following)]
    if not held_out:
        return present, []
    # Made-up services keep it from forgetting what these have not shown.
    learned += invented(8, 8, plan.rows // 16, random)
    return promote(present, train(learned, plan, present.network), held_out)


def invented(services: int, days: int, rows: int, random: np.random.Generator) -> list[Rows]:
    """Return `rows` rows of made-up services."""
    made = []
    for _ in range(services):
        rates = synthetic(days, random)
        made.append(rows_of(rates, _some(len(rates), rows // services, random), int(random.integers(WEEK))))
    return made


def train(parts: Sequence[Rows], plan: Plan, start: Network | None = None) -> Checkpoint:
    """Return what is learned from the rows, from the weights of `start` on; raises ArithmeticError where it fails.

    Takes one core. The same rows and plan give the same checkpoint.
    """
    rows = together(parts)
    torch.manual_seed(plan.seed)
    model = Model.of(start) if start else Model(plan.hidden, plan.dense)
    _descend(model, rows, plan)
    checkpoint = Checkpoint(model.network(), *_sums(rows))
    _verify(model, checkpoint.network, taken(rows.seen, np.arange(min(len(rows.following), 256))))
    return checkpoint


def _descend(model: Model, rows: Rows, plan: Plan) -> None:
    random = np.random.default_rng(plan.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.steps, pct_start=0.1)
    levels = torch.tensor(LEVELS)
    wanted = targets(rows.seen.last, rows.seen.scale, rows.following)
    weight = rows.weight * rows.seen.scale[:, None]
    for _ in range(plan.steps):
        chosen = random.integers(len(wanted), size=plan.batch)
        made = model(torch.from_numpy(rows.seen.patches[chosen]), _hidden_days(rows.seen.context[chosen], random))
        over = torch.from_numpy(wanted[chosen])[:, :, None] - made
        losses = torch.maximum(levels * over, (levels - 1) * over).mean(dim=2)
        loss = (losses * torch.from_numpy(weight[chosen])).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _hidden_days(context: Array, random: np.random.Generator) -> Tensor:
    """Return the context with other days taken away now and then, as new services and outages have it."""
    shown = context.copy()
    for reference in range(REFERENCES):
        rows = random.random(len(shown)) < 0.15
        shown[rows, reference * REFERENCE : (reference + 1) * REFERENCE] = 0
    return torch.from_numpy(shown)


def _sums(rows: Rows) -> tuple[Array, Array]:
    inputs = rows.seen.linear.astype(np.float64)
    wanted = targets(rows.seen.last, rows.seen.scale, rows.following)
    return inputs.T @ inputs / len(inputs), inputs.T @ wanted / len(inputs)


def _verify(model: Model, network: Network, seen: Features) -> None:
    with torch.no_grad():
        made = model(torch.from_numpy(seen.patches), torch.from_numpy(seen.context)).numpy()
    same = (run_network(network, seen) - seen.last[:, None, None]) / seen.scale[:, None, None]
    apart = float(np.abs(made - same).max())
    if not apart < _TOLERANCE * (1 + float(np.abs(seen.last).max())):
        raise ArithmeticError(f"torch and numpy differ by {apart}: the training diverged")


def _some(end: int, count: int, random: np.random.Generator) -> Array:
    return np.sort(random.choice(end, size=min(count, end), replace=False))
