"""What it would take: the least effort that brings a unit to a rank or score, proved by building again.

Effort is linear: the way that each indicator is moved, as a share of its range over the units, times its
price. Where the score is concave in the indicators (fixed limits, and means that reward balance) the answer
has a proven bound; elsewhere it is the best found, and says heuristic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autocity.index import engine
from autocity.index.arrays import Flags, Floats, highest, lowest
from autocity.index.composite import Index, rebuild
from autocity.index.faults import IndexFault, refuse
from autocity.index.framework import Framework

Bounds = tuple[float, float]
GREEDY, LOCAL, TRADES, CUTS = 60, 10, 14, 60
"""Rounds of each search; each round is one or a few batches through the engine."""

GRID = 4096
"""Points of the grid from which a search that is not concave sets out."""

EDGE = 1e-9
"""How far beyond the goal a proposal is aimed, as a share of the scores' spread: equality is lost in
rounding."""


@dataclass(frozen=True)
class Move:
    """An indicator to bring from one value to another."""

    code: str
    name: str
    start: float
    goal: float
    unit: str | None
    effort: float


@dataclass(frozen=True)
class Proposal:
    """Moves that bring a unit to its goal, what they cost, and what the rebuilt index says.

    `bound` is a proven lower limit of the effort, None where the answer is heuristic. `reached` is what the
    engine found when it built the index with the moves; without it the goal lies beyond the bounds of the
    indicators, and the moves are the best there are.
    """

    unit: str
    moves: tuple[Move, ...]
    effort: float
    bound: float | None
    reached: bool
    rank: int
    score: float
    rank_before: int
    score_before: float

    @property
    def gap(self) -> float | None:
        """How much of the effort is not proven to be needed, as a share; None where heuristic."""
        if self.bound is None:
            return None
        return (self.effort - self.bound) / self.effort if self.effort else 0.0


def reach(
    index: Index,
    unit: str,
    *,
    rank: int | None = None,
    score: float | None = None,
    code: str | None = None,
    bounds: Mapping[str, Bounds] | None = None,
    prices: Mapping[str, float] | None = None,
    fixed: tuple[str, ...] = (),
) -> Proposal:
    """The least effort by which a unit comes to a rank or better, or to a score or more, in the latest
    period.

    Each known indicator may improve up to the limit of the framework, else to the best value among the units;
    other `bounds` (in its unit), `prices` (1 unless told) and `fixed` indicators may be given.
    """
    if (rank is None) == (score is None):
        raise IndexFault("ask for a rank or for a score")
    if rank is not None and not 1 <= rank <= len(index.units):
        raise IndexFault(f"rank is 1 to {len(index.units)}, not {rank}")
    problem = _Problem(
        index, unit, code or index.framework.root, rank, score, bounds or {}, prices or {}, fixed
    )
    return problem.proposal()


class _Problem:
    """Least effort subject to a margin that is not below zero; a point is the way made per indicator, 0 to
    `room`."""

    def __init__(
        self,
        index: Index,
        unit: str,
        code: str,
        rank: int | None,
        score: float | None,
        bounds: Mapping[str, Bounds],
        prices: Mapping[str, float],
        fixed: tuple[str, ...],
    ) -> None:
        self.index, self.code, self.goal_rank, self.goal_score = index, code, rank, score
        self.row = index._row(unit)
        self.unit = unit
        codes = index.framework.indicators
        named = {*bounds, *prices, *fixed}
        refuse(
            [f"{c} is not an indicator of {index.framework.code}" for c in sorted(named) if c not in codes]
        )
        self.before = index[code][-1]
        if np.isnan(self.before[self.row]):
            raise IndexFault(f"{unit} has no score: it was screened out, or too much of it is missing")
        raw = index.plan.start
        self.start = raw[-1, self.row]
        self.range = _range(raw, index.framework)
        self.room = self._room(bounds, fixed)
        self.price = np.array([prices.get(c, 1.0) for c in codes])
        refuse(
            [
                f"the price of {c} is not above zero"
                for c, p in zip(codes, self.price, strict=True)
                if not p > 0
            ]
        )
        self.room[~np.isfinite(self.price)] = 0.0
        self.price[~np.isfinite(self.price)] = 1.0
        self.free = np.flatnonzero(self.room > 0)
        spread = np.nanmax(self.before) - np.nanmin(self.before)
        self.edge = EDGE * (spread if spread > 0 else 1.0)

    def proposal(self) -> Proposal:
        """The cheapest point found, checked by a build of its own."""
        if self.margin(np.zeros((1, len(self.room))))[0] >= 0:
            return self._answer(np.zeros(len(self.room)), 0.0)
        inside = self._inside() if self.free.size else None
        if inside is None:
            return self._answer(self.room, None)
        point, bound = self._cuts(inside)
        if not self.concave:
            point = self._improved(point)
        answer = self._answer(point, bound if self.concave else None)
        # The batch and a build of its own may differ in the last digit: aim a little further then.
        for push in (1e-6, 1e-4, 1e-2):
            if answer.reached:
                break
            answer = self._answer(np.minimum(point * (1 + push), self.room), answer.bound)
        return answer

    @property
    def concave(self) -> bool:
        """Whether the score is known to be concave in the unit's indicators, with the others' scores
        fixed."""
        recipe = self.index.recipe
        normalise = next((s for s in recipe if s.kind == "normalise"), None)
        kinds = {step.kind for step in recipe}
        aggregate = recipe["aggregate"]
        methods = {*(aggregate.method if isinstance(aggregate.method, tuple) else (aggregate.method,))}
        linear = normalise is not None and normalise.method in ("goalposts", "scaled", "none", "raw")
        given = all(s.method in ("given", "ahp", "budget") for s in recipe if s.kind == "weight")
        balanced = methods <= {"arithmetic", "geometric", "harmonic", "minimum"} and not aggregate.each
        settled = not kinds & {"treat", "impute", "screen"} and not (normalise and normalise.each)
        return (
            linear and given and balanced and settled and self._above_low() and bool((self.price > 0).all())
        )

    def margin(self, ways: Floats) -> Floats:
        """How far the unit is beyond its goal at some points (points, indicators)."""
        scores = self.scores(ways)
        own = scores[:, self.row]
        if self.goal_score is not None:
            return own - self.goal_score - self.edge
        others = np.delete(scores, self.row, 1)
        others = -np.sort(-np.where(np.isnan(others), -np.inf, others), 1)
        assert self.goal_rank is not None
        if self.goal_rank > others.shape[1]:
            return np.ones(len(ways))
        return np.asarray(own - others[:, self.goal_rank - 1] - self.edge)

    def scores(self, ways: Floats) -> Floats:
        """Scores of all units at some points, by the engine in one batch."""
        return engine.rescore(self.index.plan, self.index.recipe, self.row, self.values(ways), self.code)[
            :, -1
        ]

    def values(self, ways: Floats) -> Floats:
        """The unit's indicators at some points."""
        return np.asarray(self.start + np.where(ways > 0, ways * self.range * self.index.plan.direction, 0.0))

    def effort(self, way: Floats) -> float:
        """What a point costs."""
        return float((way * self.price).sum())

    def _room(self, bounds: Mapping[str, Bounds], fixed: tuple[str, ...]) -> Floats:
        """How far each indicator can improve, as a share of its range."""
        direction, raw = self.index.plan.direction, self.index.plan.start[-1]
        best = np.where(direction > 0, highest(raw)[0], lowest(raw)[0])
        for i, code in enumerate(self.index.framework.indicators):
            limits = self.index.framework[code].limits
            if code in bounds:
                best[i] = max(bounds[code]) if direction[i] > 0 else min(bounds[code])
            elif limits is not None:
                best[i] = limits.high if direction[i] > 0 else limits.low
            if code in fixed:
                best[i] = self.start[i]
        room = (best - self.start) * direction / np.where(self.range > 0, self.range, 1.0)
        return np.asarray(np.nan_to_num(room.clip(0.0)))

    def _above_low(self) -> bool:
        """Below a limit that cuts off, improvement shows no effect at first: not concave."""
        normal = self.index.stage("normalise").values[-1]
        step = self.index.recipe["normalise"]
        if step.method != "goalposts" or step.params.get("clip") is False:
            return True
        row = self.index.stage("normalise").units.index(self.unit)
        return bool((normal[row, self.free] > 0).all())

    def _slopes(self, way: Floats) -> Floats:
        """What a little more of each free indicator adds to the margin; from below at the end of its room."""
        nudge = 1e-6 * self.room[self.free]
        back = way[self.free] + nudge > self.room[self.free]
        nudge = np.where(back, -nudge, nudge)
        points = np.repeat(way[None], len(self.free) + 1, 0)
        points[np.arange(1, len(points)), self.free] += nudge
        values = self.margin(points)
        slopes = np.zeros(len(way))
        slopes[self.free] = (values[1:] - values[0]) / nudge
        return slopes

    def _inside(self) -> Floats | None:
        """A point that reaches the goal, the whole room if it does; None where none is found.

        Where limits move with the data, more is not always better: then the way there is searched too.
        """
        line = np.linspace(1.0, 0.0, 65)[:, None] * self.room
        points = np.concatenate([line, self._greedy()[None]])
        reached = np.flatnonzero(self.margin(points) >= 0)
        return points[reached[0]] if reached.size else None

    def _cuts(self, inside: Floats) -> tuple[Floats, float]:
        """Kelley's cutting planes: each point's tangent bounds the margin from above where it is concave.

        Returns the cheapest point that reaches the goal, and the lower bound of the last programme.
        """
        from scipy.optimize import linprog

        way, best, bound = np.zeros(len(self.room)), inside, 0.0
        rows: list[Floats] = []
        sides: list[float] = []
        for _ in range(CUTS):
            value, slope = float(self.margin(way[None])[0]), self._slopes(way)
            rows.append(-slope[self.free])
            sides.append(value - float(slope @ way))
            solved = linprog(
                self.price[self.free],
                np.array(rows),
                np.array(sides),
                bounds=list(zip(np.zeros(len(self.free)), self.room[self.free], strict=True)),
                method="highs",
            )
            if solved.status != 0:
                # Tangents of a margin that is not concave can contradict each other: what is found stands.
                break
            bound = max(bound, float(solved.fun))
            way = np.zeros(len(self.room))
            way[self.free] = solved.x
            best = min(best, self._towards(way, best), key=self.effort)
            if self.effort(best) - bound <= 1e-7 * max(self.effort(best), 1e-12):
                break
        return best, min(bound, self.effort(best))

    def _towards(self, way: Floats, inside: Floats) -> Floats:
        """The first point on the line from one to another, which reaches the goal, that reaches it too."""
        low, high = 0.0, 1.0
        for _ in range(4):
            steps = np.linspace(low, high, 9)
            points = way + steps[:, None] * (inside - way)
            reached = np.flatnonzero(self.margin(points) >= 0)
            first = int(reached[0]) if reached.size else len(steps) - 1
            low, high = float(steps[max(first - 1, 0)]), float(steps[first])
            if first == 0:
                break
        return np.asarray(way + high * (inside - way))

    def _improved(self, point: Floats) -> Floats:
        """The best of several starts, each made cheaper by local programmes and by trading one way for
        another."""
        starts = [point, self._greedy(), *self._scattered()]
        starts = [
            start for start, margin in zip(starts, self.margin(np.array(starts)), strict=True) if margin >= 0
        ]
        best = min((self._local(start) for start in starts), key=self.effort)
        return self._traded(best)

    def _scattered(self) -> list[Floats]:
        """The three cheapest points of a grid that reach the goal.

        It is as fine as the number of indicators allows; of many, only the most promising six move, and to
        their ends.
        """
        worth = self._slopes(np.zeros(len(self.room))) / self.price
        chosen = self.free[np.argsort(-worth[self.free], kind="stable")][:6]
        levels = max(2, int(GRID ** (1 / len(chosen)))) if len(self.free) == len(chosen) else 2
        axes = [np.linspace(0.0, self.room[i], levels) for i in chosen]
        points = np.zeros((levels ** len(chosen), len(self.room)))
        points[:, chosen] = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(chosen))
        reached = points[self.margin(points) >= 0]
        return list(reached[np.argsort((reached * self.price).sum(1), kind="stable")[:3]])

    def _greedy(self) -> Floats:
        """An eighth of the room at a time, always where the margin gains most for its price."""
        way, before = np.zeros(len(self.room)), np.zeros(len(self.room))
        for _ in range(GREEDY):
            points = np.minimum(way + np.diag(self.room / 8)[self.free], self.room)
            margins = self.margin(np.concatenate([way[None], points]))
            if margins[0] >= 0:
                return self._towards(before, way)
            spent = ((points - way) * self.price).sum(1)
            gain = np.where(
                spent > 1e-15, (margins[1:] - margins[0]) / np.where(spent > 0, spent, 1.0), -np.inf
            )
            before, way = way, points[int(gain.argmax())]
        return self.room

    def _local(self, way: Floats) -> Floats:
        """Linear programmes inside a shrinking box around the cheapest point so far."""
        from scipy.optimize import linprog

        radius = 0.25
        for _ in range(LOCAL):
            value, slope = float(self.margin(way[None])[0]), self._slopes(way)
            reach = radius * self.room[self.free]
            low = (way[self.free] - reach).clip(0.0)
            high = np.minimum(way[self.free] + reach, self.room[self.free])
            solved = linprog(
                self.price[self.free],
                -slope[None, self.free],
                [value - float(slope @ way)],
                bounds=list(zip(low, high, strict=True)),
                method="highs",
            )
            tried = way.copy()
            if solved.status == 0:
                tried[self.free] = solved.x
                tried = self._towards(tried, way)
            if solved.status != 0 or self.effort(tried) >= self.effort(way) * (1 - 1e-6):
                radius /= 2
                continue
            way = tried
        return way

    def _traded(self, way: Floats) -> Floats:
        """Less of one indicator, more of another, wherever that is cheaper; and less of one alone."""
        share = 0.5
        for _ in range(TRADES):
            cheaper = self._trades(way, share)
            share = share / 2 if cheaper is None else share
            way = way if cheaper is None else cheaper
            if share < 1e-4:
                break
        return way

    def _trades(self, way: Floats, share: float) -> Floats | None:
        """The cheapest point that reaches the goal by giving up a share of one way for some of another."""
        worth = self._slopes(way) / self.price
        takers = sorted((int(i) for i in self.free if way[i] < self.room[i]), key=lambda i: -worth[i])[:8]
        points = []
        for giver in (int(i) for i in self.free if way[i] > 0):
            less = way.copy()
            less[giver] *= 1 - share
            freed = (way[giver] - less[giver]) * self.price[giver]
            points.append(less)
            for taker in (t for t in takers if t != giver):
                for part in (0.5, 0.9, 0.99):
                    more = less.copy()
                    more[taker] = min(more[taker] + part * freed / self.price[taker], self.room[taker])
                    points.append(more)
        table = np.array(points)
        efforts = np.where(self.margin(table) >= 0, (table * self.price).sum(1), np.inf)
        best = int(efforts.argmin())
        return table[best] if efforts[best] < self.effort(way) * (1 - 1e-6) else None

    def _answer(self, way: Floats, bound: float | None) -> Proposal:
        codes = self.index.framework.indicators
        values = self.values(way[None])[0]
        moved = [i for i in range(len(codes)) if way[i] > 0 and values[i] != self.start[i]]
        frame = self.index.frame.changed(self.unit, {codes[i]: float(values[i]) for i in moved})
        after = rebuild(self.index, frame)
        rank, score = int(after.rank(self.code)[-1, self.row]), float(after[self.code][-1, self.row])
        fine = rank <= self.goal_rank if self.goal_rank is not None else score >= (self.goal_score or 0.0)
        moves = (self._move(i, values[i], way[i]) for i in moved)
        return Proposal(
            self.unit,
            tuple(sorted(moves, key=lambda m: -m.effort)),
            self.effort(way),
            bound,
            bool(fine),
            rank,
            score,
            int(self.index.rank(self.code)[-1, self.row]),
            float(self.before[self.row]),
        )

    def _move(self, i: int, value: float, way: float) -> Move:
        element = self.index.framework[self.index.framework.indicators[i]]
        return Move(
            element.code,
            element.label(),
            float(self.start[i]),
            float(value),
            element.unit,
            float(way * self.price[i]),
        )


def _range(raw: Floats, framework: Framework) -> Floats:
    """The range of each indicator over units and periods, else the length of its limits; 1 where it has
    neither."""
    flat = raw.reshape(-1, raw.shape[-1])
    spread = np.nan_to_num((highest(flat) - lowest(flat))[0])
    limits = [framework[code].limits for code in framework.indicators]
    length = np.array([limit.high - limit.low if limit else 1.0 for limit in limits])
    none: Flags = spread == 0
    return np.where(none, length, spread)
