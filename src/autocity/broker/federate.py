"""Distributed operations (4.3.6): which source is asked for what, and one answer from all of theirs.

A write is divided: what an exclusive or redirect source has goes there and nowhere else, the rest stays
here and goes to inclusive sources, too. A read asks everyone and puts the parts together; auxiliary
sources only add what is lacking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker.registration import EntityInfo, Information
from autocity.broker.registrations import EVERYTHING, Registrations, Seek, Source, types_in
from autocity.broker.sources import (
    INVALID,
    REFUSED,
    SILENT,
    Asked,
    Message,
    Reply,
    Sources,
    Unanswered,
    Words,
    refusal,
    segment,
)
from autocity.broker.subscription import Said, Spelling
from autocity.errors import BadGateway, BadRequestData, CityError, Conflict, LoopDetected, TooManyResults
from autocity.ld.assembly import assemble, interleave, received, received_evolution, supplement
from autocity.ld.context import Context
from autocity.ld.instants import read
from autocity.ld.query import AllOf, AnyOf, Query, Select, Selector, TypeIs, matcher, parse_q, selects
from autocity.ld.temporal import Window
from autocity.model import Entity, Instant

PAGE = 1000
"""Entities that a source is asked for at once."""

MAX_GATHERED = 10_000
"""Entities of one source that are put together at most when all are needed."""

MANY_IDS = 40
"""Ids that a query names in its URL; more are asked for in several queries."""

RETRIEVE = ("retrieveEntity", "queryEntity", "queryBatch")
RETRIEVE_HISTORY = ("retrieveTemporal", "queryTemporal")
QUERY = ("queryEntity", "queryBatch")
QUERY_HISTORY = ("queryTemporal",)

FILTERS = ("q", "scopeQ", "georel", "geometry", "coordinates", "geoproperty", "expandValues", "jsonKeys")
WINDOW = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN")

Local = Callable[[Query], Awaitable[list[Entity]]]
"""A query answered from what is held here."""


# -- writes (5.6)


class Share(Struct, frozen=True):
    """What one source gets of a write: some of the attributes that were sent; `whole`: all that was."""

    source: Source
    attributes: frozenset[str]
    whole: bool


class Division(Struct, frozen=True):
    """Who gets what of a write: `shares` go to sources, `rest` are the attributes that stay here.
    `proxied`: something of it is held by a source alone (4.3.6.3)."""

    shares: list[Share]
    rest: frozenset[str]
    proxied: bool


class Outcome(Struct, frozen=True):
    """What became of the part of a write that went to a source."""

    source: Source
    error: CityError | None = None
    reply: Reply | None = None

    @property
    def partial(self) -> Mapping[str, Any] | None:
        """What a part that itself succeeded in part (207) says of that."""
        if self.reply is None or self.reply.status != 207:
            return None
        return self.reply.content if isinstance(self.reply.content, dict) else {}


# -- reads (5.7)


class Question(Struct, frozen=True, kw_only=True):
    """A query for entities: parsed, and as it was said in the words of the request (`values`, by parameter
    name). `split`: entities may be spread over sources, so filters hold for the whole of them (4.3.6.7).
    `window`: their history within it is asked for. `batch`: it came as a Query body."""

    query: Query
    values: Mapping[str, Any]
    split: bool = False
    batch: bool = False
    window: Window | None = None

    @property
    def attributes(self) -> frozenset[str]:
        """Those wanted, by IRI; none means all."""
        return frozenset(self.query.attributes)

    @property
    def datasets(self) -> frozenset[str]:
        """The datasets wanted; none means all."""
        return frozenset(self.values.get("datasetId", ()))


class Found(Struct, frozen=True):
    """What was put together: entities in order, the registrations that each came from ("@none": it is
    here), warnings (6.3.17), how many there are if that was asked for, and whether there are more."""

    entities: list[Entity]
    origins: dict[str, list[str]]
    warnings: list[str]
    total: int | None = None
    more: bool = False


class Federation:
    """Distributed operations over the sources registered."""

    def __init__(self, registrations: Registrations, sources: Sources, clock: Callable[[], Instant]) -> None:
        self.registrations = registrations
        self.sources = sources
        self._clock = clock

    # -- writes

    def divide(
        self,
        asked: Asked,
        operations: Sequence[str],
        id: str,
        types: Iterable[str] | None,
        sent: frozenset[str],
        *,
        temporal: bool = False,
    ) -> Division:
        """Who gets which of the attributes sent of an entity (5.6.1.4 and its siblings). An inclusive source
        takes part when it takes one of `operations`. Nothing sent: the operation is about the entity."""
        having = self._having(asked, id, types, temporal)
        shares: list[Share] = []
        rest, proxied = sent, False
        for mode in ("exclusive", "redirect", "inclusive"):
            taken: frozenset[str] = frozenset()
            for source, offered in having:
                if source.mode != mode:
                    continue
                part = rest if offered is EVERYTHING else rest & offered
                if sent and not part:
                    continue
                if mode == "inclusive" and (
                    source.supported.isdisjoint(operations) or self.sources.looped(asked)
                ):
                    continue
                shares.append(Share(source, part, offered is EVERYTHING and part == sent))
                proxied = proxied or source.proxied
                taken |= part
                if mode == "exclusive":
                    rest -= part
            if mode == "redirect":
                rest -= taken
        return Division(shares, rest, proxied)

    def _having(
        self, asked: Asked, id: str, types: Iterable[str] | None, temporal: bool
    ) -> list[tuple[Source, frozenset[str]]]:
        """Sources of an entity that the request did not come through, but auxiliary ones."""
        return [
            (source, offered)
            for source, offered in self.registrations.having(
                asked.caller.tenant, id, types, temporal=temporal
            )
            if source.mode != "auxiliary" and source.registration.context_source_alias not in asked.via
        ]

    async def send(
        self, asked: Asked, source: Source, operation: str, make: Callable[[Words], Message]
    ) -> Outcome:
        """Bring its part of a write to a source; `make` puts it in the source's words."""
        if operation not in source.supported:
            return Outcome(source, Conflict(f"{source.id} does not take {operation}"))
        if self.sources.looped(asked):
            return Outcome(source, LoopDetected(f"the request has come back; {source.id} leads to here"))
        try:
            words = await self.sources.words(source, asked)
            reply = await self.sources.ask(source, make(words), words, asked)
        except Unanswered as fault:
            return Outcome(source, fault.error)
        except CityError as fault:
            return Outcome(source, BadGateway(f"{source.id}: {fault.detail}"))
        return Outcome(source, refusal(source, reply) if reply.status >= 300 else None, reply)

    def purging(
        self, asked: Asked, question: Question
    ) -> list[tuple[Source, Callable[[Words], tuple[tuple[str, str], ...]]]]:
        """Sources that take part in a purge (5.6.21), each with the parameters to send in its words. Those
        that have what is theirs alone are named even when they do not take it, so that this is told."""
        if self.sources.looped(asked):
            return []
        query = question.query
        seek = Seek(
            selectors=query.selectors, attributes=question.attributes, geo=query.geo, scopes=query.scopes
        )
        return [
            (source, partial(_purge_params, source, infos, question, asked.context))
            for source, infos in self.registrations.find(asked.caller.tenant, seek)
            if source.mode != "auxiliary"
            and source.registration.context_source_alias not in asked.via
            and (source.proxied or "purgeEntity" in source.supported)
        ]

    # -- one entity (5.7.1, 5.7.3)

    async def retrieve(
        self,
        asked: Asked,
        id: str,
        here: Entity | None,
        *,
        types: Select | None = None,
        attributes: frozenset[str] = EVERYTHING,
        params: Sequence[tuple[str, str]] = (),
        only: frozenset[str] | None = None,
        window: Window | None = None,
    ) -> Found:
        """An entity from here and from all sources that have it; none when nobody has. `attributes` are
        those wanted, `params` go along, `only` names the registrations to ask (5.5.14). With a `window`,
        its history."""
        temporal = window is not None
        known = types_in(types) or (here.types if here is not None else None)
        operations = RETRIEVE_HISTORY if temporal else RETRIEVE
        pairs = [
            (source, common(attributes, offered))
            for source, offered in self.registrations.having(
                asked.caller.tenant, id, known, temporal=temporal
            )
            if self._may_be_asked(source, asked, operations, only)
            and not (attributes and offered and attributes.isdisjoint(offered))
        ]
        pairs, warnings = self._unlooped(asked, pairs)
        parts = await asyncio.gather(
            *(self._retrieve(asked, source, id, names, params, temporal, warnings) for source, names in pairs)
        )
        versions = [here] if here is not None else []
        additions: list[Entity] = []
        origins = ["@none"] if here is not None else []
        for (source, _), part in zip(pairs, parts, strict=True):
            if isinstance(part, Unanswered):
                warnings.append(self._warning(part))
            elif part is not None:
                (additions if source.mode == "auxiliary" else versions).append(part)
                origins.append(source.id)
        if not versions and not additions:
            return Found([], {}, warnings)
        return Found([self._together(versions, additions, window)], {id: origins}, warnings)

    async def _retrieve(
        self,
        asked: Asked,
        source: Source,
        id: str,
        attributes: frozenset[str],
        params: Sequence[tuple[str, str]],
        temporal: bool,
        warnings: list[str],
    ) -> Entity | Unanswered | None:
        """What one source has of an entity, by whichever operation it takes; its warnings are passed on."""
        operations = RETRIEVE_HISTORY if temporal else RETRIEVE
        operation = next(each for each in operations if each in source.supported)
        root = "/temporal" if temporal else ""
        try:
            words = await self.sources.words(source, asked)
            compact = words.context.compact
            given = [*params, *_listed("attrs", sorted(map(compact, attributes))), ("options", "sysAttrs")]
            infos = [info for each in source.registration.information for info in each.entities]
            type = ",".join(dict.fromkeys(compact(name) for info in infos for name in info.types))
            if operation == operations[0]:
                message = Message(method="GET", path=f"{root}/entities/{segment(id)}", params=tuple(given))
            elif operation == operations[1]:
                given = [*_listed("type", [type]), ("id", id), *given]
                message = Message(method="GET", path=f"{root}/entities", params=tuple(given))
            else:
                message = batch_query([{"type": type or "*", "id": id}], dict(given))
            reply = await self.sources.ask(source, message, words, asked)
            warnings += reply.warnings
            found = self._read(source, reply, words.context, temporal)
        except Unanswered as fault:
            return fault
        except CityError as fault:
            return Unanswered(REFUSED, fault)
        return next((each for each in found if each.id == id), None)

    # -- many (5.7.2, 5.7.4)

    def matching(
        self, asked: Asked, question: Question, only: frozenset[str] | None = None
    ) -> list[tuple[Source, tuple[Information, ...]]]:
        """Sources that may have entities that the question is about, and take it."""
        query, values = question.query, question.values
        seek = Seek(
            selectors=query.selectors,
            attributes=EVERYTHING if question.split else question.attributes,
            dataset_ids=question.datasets,
            geo=None if question.split else query.geo,
            scopes=None if question.split else query.scopes,
            csf=parse_q(values["csf"], asked.context.expand) if "csf" in values else None,
            window=question.window,
            temporal=question.window is not None,
        )
        operations = QUERY if question.window is None else QUERY_HISTORY
        return [
            (source, matching)
            for source, matching in self.registrations.find(asked.caller.tenant, seek)
            if self._may_be_asked(source, asked, operations, only)
        ]

    async def query(
        self,
        asked: Asked,
        question: Question,
        local: Local,
        *,
        only: frozenset[str] | None = None,
        every: bool = False,
    ) -> Found:
        """Entities from here and from all sources: one page of `question.query`, or `every` one.

        Those held here come first, then those of each source in its order.
        """
        query = question.query
        pairs, warnings = self._unlooped(asked, self.matching(asked, question, only))
        whole = every or query.count or question.split
        need = MAX_GATHERED if whole else query.offset + query.limit + 1
        sought = replace(query, offset=0, limit=need, order=(), count=False)
        if question.split:
            sought = Query(selectors=query.selectors, limit=need)
        here, answers = await asyncio.gather(
            local(sought),
            asyncio.gather(
                *(self._fetch(asked, source, infos, question, need, warnings) for source, infos in pairs)
            ),
        )
        gathered = Gathered(here)
        asking: list[tuple[Source, tuple[Information, ...]]] = []
        for (source, infos), answer in zip(pairs, answers, strict=True):
            if isinstance(answer, Unanswered):
                warnings.append(self._warning(answer))
                continue
            gathered.add(source, answer)
            if len(answer) >= need:
                asking.append((source, infos))
        if whole and (asking or len(here) >= need):
            raise TooManyResults(f"more than {MAX_GATHERED} entities would have to be put together")
        ids = list(gathered.ids)
        start, end = (0, len(ids)) if every or question.split else (query.offset, query.offset + query.limit)
        page = ids[start:end]
        if not whole:
            await self._complete(asked, question, local, gathered, page, asking, len(here) >= need)
        entities = [self._together(*gathered.parts(id), question.window) for id in page]
        if question.split:
            satisfied = matcher(replace(query, order=()))
            entities = [each for each in entities if satisfied(each)]
            ids = [each.id for each in entities]
            if not every:
                entities = entities[query.offset : query.offset + query.limit]
        return Found(
            entities,
            {each.id: gathered.origins(each.id) for each in entities},
            warnings,
            len(ids) if query.count else None,
            len(ids) > query.offset + query.limit,
        )

    async def _complete(
        self,
        asked: Asked,
        question: Question,
        local: Local,
        gathered: Gathered,
        page: list[str],
        asking: Sequence[tuple[Source, tuple[Information, ...]]],
        more_here: bool,
    ) -> None:
        """Parts of the entities of a page that stand so far back in their source that they did not come."""
        if more_here and (ids := gathered.lacking(None, page)):
            gathered.add(None, await local(replace(among(question, ids).query, limit=len(ids), offset=0)))
        for source, infos in asking:
            if ids := gathered.lacking(source, page):
                answer = await self._fetch(asked, source, infos, among(question, ids), len(ids), [])
                if not isinstance(answer, Unanswered):
                    gathered.add(source, answer)

    async def _fetch(
        self,
        asked: Asked,
        source: Source,
        infos: Sequence[Information],
        question: Question,
        need: int,
        warnings: list[str],
    ) -> list[Entity] | Unanswered:
        """Up to so many entities of one source, each once, in its order; its warnings are passed on."""
        found: dict[str, Entity] = {}
        try:
            words = await self.sources.words(source, asked)
            for message in messages(source, infos, question, asked.context, words):
                offset = 0
                while True:
                    limit = min(PAGE, need - len(found))
                    paged = (("limit", str(limit)), *((("offset", str(offset)),) if offset else ()))
                    sent = replace(message, params=(*message.params, *paged))
                    reply = await self.sources.ask(source, sent, words, asked)
                    warnings += (each for each in reply.warnings if each not in warnings)
                    page = self._read(source, reply, words.context, question.window is not None)
                    found.update((each.id, each) for each in page if each.id not in found)
                    offset += len(page)
                    if len(page) < limit or len(found) >= need:
                        break
                if len(found) >= need:
                    break
        except Unanswered as fault:
            return fault
        except CityError as fault:
            return Unanswered(REFUSED, fault)
        return list(found.values())

    # -- parts

    def _may_be_asked(
        self, source: Source, asked: Asked, operations: Sequence[str], only: frozenset[str] | None
    ) -> bool:
        return (
            not source.supported.isdisjoint(operations)
            and source.registration.context_source_alias not in asked.via
            and (only is None or source.id in only)
        )

    def _unlooped(
        self, asked: Asked, pairs: list[tuple[Source, Any]]
    ) -> tuple[list[tuple[Source, Any]], list[str]]:
        """Whom to ask: nobody, with a warning, when the request has been here before."""
        if not pairs or not self.sources.looped(asked):
            return pairs, []
        fault = Unanswered(SILENT, LoopDetected("a loop of registrations was found"))
        return [], [self._warning(fault)]

    def _warning(self, fault: Unanswered) -> str:
        """A value of `NGSILD-Warning` (6.3.17)."""
        text = "".join(char if char.isascii() and char.isprintable() else "?" for char in fault.error.detail)
        quoted = text[:200].replace("\\", "/").replace('"', "'")
        return f'{fault.code} {self.sources.name} "{quoted}"'

    def _read(self, source: Source, reply: Reply, context: Context, temporal: bool) -> list[Entity]:
        """The entities that a source answered with. Raises Unanswered for a refusal or an invalid payload."""
        if reply.status == 404:
            return []
        if reply.status >= 300:
            raise Unanswered(REFUSED, refusal(source, reply))
        told = reply.content if isinstance(reply.content, list) else [reply.content]
        receive = received_evolution if temporal else received
        try:
            found = [receive(each, context) for each in told]
        except BadRequestData as fault:
            raise Unanswered(INVALID, BadGateway(f"{source.id}: {fault.detail}")) from None
        now = self._clock()
        return [each for each in found if each.expires_at is None or (read(each.expires_at) or now) > now]

    def _together(
        self, versions: Sequence[Entity], additions: Sequence[Entity], window: Window | None
    ) -> Entity:
        if not versions:
            versions, additions = additions[:1], additions[1:]
        if window is not None:
            return interleave(versions, additions, window.property)
        return supplement(assemble(versions, self._clock()), additions)


class Gathered:
    """Versions of entities by id, in the order in which the ids were first met: from here, then by source."""

    def __init__(self, here: Iterable[Entity]) -> None:
        self.ids: dict[str, dict[Source | None, Entity]] = {}
        self.add(None, here)

    def add(self, source: Source | None, entities: Iterable[Entity]) -> None:
        """Take up what a source has; None: what is here."""
        for each in entities:
            self.ids.setdefault(each.id, {})[source] = each

    def lacking(self, source: Source | None, page: Sequence[str]) -> list[str]:
        """Ids of a page that nothing is known of from a source."""
        return [id for id in page if source not in self.ids[id]]

    def parts(self, id: str) -> tuple[list[Entity], list[Entity]]:
        """The versions of an entity, and what auxiliary sources have of it."""
        versions: list[Entity] = []
        additions: list[Entity] = []
        for source, entity in self.ids[id].items():
            (additions if source is not None and source.mode == "auxiliary" else versions).append(entity)
        return versions, additions

    def origins(self, id: str) -> list[str]:
        """The registrations that an entity came from (5.2.39)."""
        return ["@none" if source is None else source.id for source in self.ids[id]]


# -- questions in the words of a source


def among(question: Question, ids: Sequence[str]) -> Question:
    """The same question about some entities only."""
    wanted = tuple(ids)
    selectors = question.query.selectors or (Selector(),)
    chosen = tuple(
        replace(
            each, ids=tuple(id for id in wanted if id in each.ids) if each.ids else wanted, id_pattern=None
        )
        for each in selectors
    )
    return replace(
        question, query=replace(question.query, selectors=tuple(each for each in chosen if each.ids))
    )


def messages(
    source: Source, infos: Sequence[Information], question: Question, here: Context, words: Words
) -> list[Message]:
    """What a source is asked, no more than it is registered for (4.3.6.1)."""
    attributes = common(EVERYTHING if question.split else question.attributes, offered(infos))
    selections = selections_of(source, infos, question.query.selectors, words.context)
    given = said(question, here, words.context)
    given |= dict(_listed("attrs", sorted(map(words.context.compact, attributes))))
    datasets = source.registration.dataset_id
    if datasets:
        wanted = question.datasets
        given["datasetId"] = ",".join(each for each in datasets if not wanted or each in wanted)
    given["options"] = "sysAttrs"
    if question.window is not None:
        return [
            Message(method="GET", path="/temporal/entities", params=(*each, *given.items()))
            for each in _as_params(selections)
        ]
    order = QUERY[::-1] if question.batch else QUERY
    operation = next(each for each in order if each in source.supported)
    if operation == "queryBatch":
        return [batch_query(selections, given)]
    return [
        Message(method="GET", path="/entities", params=(*each, *given.items()))
        for each in _as_params(selections)
    ]


def _purge_params(
    source: Source, infos: Sequence[Information], question: Question, here: Context, words: Words
) -> tuple[tuple[str, str], ...]:
    """What is to be purged at a source, no more than it is registered for."""
    attributes = common(question.attributes, offered(infos))
    chosen = next(iter(_as_params(selections_of(source, infos, question.query.selectors, words.context))))
    names = _listed("attrs", sorted(map(words.context.compact, attributes)))
    return (*chosen, *said(question, here, words.context).items(), *names)


def _as_params(selections: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, str], ...]]:
    """Selections as parameters, one query for each; long lists of ids in several."""
    found = []
    for each in selections or ({},):
        ids = each.get("id", [])
        ids = [ids] if isinstance(ids, str) else ids
        for start in range(0, max(len(ids), 1), MANY_IDS):
            params = _listed("type", [each["type"]] if "type" in each else [])
            params += _listed("id", ids[start : start + MANY_IDS])
            params += _listed("idPattern", [each["idPattern"]] if "idPattern" in each else [])
            found.append(tuple(params))
    return found


def batch_query(selections: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> Message:
    """A query as a body (5.2.23)."""
    body: dict[str, Any] = {"type": "Query"}
    if selections:
        body["entities"] = [{"type": "*", **each} for each in selections]
    for name in ("attrs", "datasetId"):
        if name in given:
            body[name] = given[name].split(",")
    body |= {name: given[name] for name in ("q", "scopeQ", "expandValues", "jsonKeys") if name in given}
    geo = {
        name: given[name] for name in ("georel", "geometry", "coordinates", "geoproperty") if name in given
    }
    if geo:
        body["geoQ"] = {**geo, "coordinates": msgspec.json.decode(geo["coordinates"])}
    params = tuple((name, given[name]) for name in ("options",) if name in given)
    return Message(method="POST", path="/entityOperations/query", params=params, body=body)


def said(question: Question, here: Context, there: Context) -> dict[str, str]:
    """The filters and the window of a question as parameters, in the words of another @context."""
    values = question.values
    given: dict[str, str] = {}
    for name in () if question.split else FILTERS:
        if name in values:
            given[name] = _reworded(name, values[name], here, there)
    if question.datasets:
        given["datasetId"] = ",".join(values["datasetId"])
    if question.window is not None:
        given |= {name: str(values[name]) for name in WINDOW if name in values}
    return given


def _reworded(name: str, value: Any, here: Context, there: Context) -> str:
    if name == "q" and here is not there:
        spelling = Spelling(here.expand)
        parse_q(value, spelling)
        return Said(value, spelling.said(value).names).under(there)
    if name == "geoproperty":
        return there.compact(here.expand(value))
    if name in ("expandValues", "jsonKeys"):
        return ",".join(there.compact(here.expand(each)) for each in value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def offered(infos: Sequence[Information]) -> frozenset[str]:
    """The attributes that elements of information name together; one that names none has all."""
    named = [each.attributes for each in infos]
    return frozenset().union(*named) if all(named) else EVERYTHING


def common(wanted: frozenset[str], offered: frozenset[str]) -> frozenset[str]:
    """What is both wanted and offered, where none named means all."""
    return wanted & offered if wanted and offered else wanted or offered


def selections_of(
    source: Source, infos: Sequence[Information], selectors: Sequence[Selector], context: Context
) -> list[dict[str, Any]]:
    """Which entities a source is asked for: what is wanted of what it is registered for (5.2.33)."""
    groups: dict[tuple[bool, str | None], tuple[dict[str, None], dict[str, None]]] = {}
    for each in infos:
        for info in each.entities or (None,):
            for selector in selectors or (Selector(),):
                if info is not None and not source.selected(info, selector):
                    continue
                ids, pattern = _ids(source, info, selector)
                types, known = groups.setdefault((bool(ids), pattern), ({}, {}))
                types.update(dict.fromkeys(_types(selector.types, info, context)))
                known.update(dict.fromkeys(ids))
    found = []
    for (_, pattern), (types, known) in groups.items():
        selection: dict[str, Any] = {"type": ",".join(types)} if types else {}
        if known:
            selection["id"] = list(known) if len(known) > 1 else next(iter(known))
        if pattern is not None:
            selection["idPattern"] = pattern
        found.append(selection)
    return [each for each in found if each]


def _ids(source: Source, info: EntityInfo | None, selector: Selector) -> tuple[Sequence[str], str | None]:
    """The ids, or else the pattern, of what is both selected and described."""
    if info is None:
        return selector.ids, None if selector.ids else selector.id_pattern
    if info.id is not None:
        return (info.id,), None
    if selector.ids:
        return [id for id in selector.ids if source.describes(info, id)], None
    return (), selector.id_pattern or info.id_pattern


def _types(select: Select | None, info: EntityInfo | None, context: Context) -> list[str]:
    """The alternatives of a type selection that a source has, in the words of a context."""
    match select:
        case None:
            return [context.compact(type) for type in info.types] if info is not None else []
        case TypeIs(type):
            return [context.compact(type)]
        case AnyOf(parts):
            described = Entity(id="", types=info.types) if info is not None else None
            chosen = [each for each in parts if described is None or selects(each, described)]
            return [text for part in chosen for text in _types(part, None, context)]
        case AllOf(parts):
            inner = [_types(part, None, context) for part in parts]
            texts = [each[0] if len(each) == 1 else f"({','.join(each)})" for each in inner]
            return [f"({';'.join(texts)})"]
        case _:
            return []


def _listed(name: str, items: Sequence[str]) -> list[tuple[str, str]]:
    """A parameter that is a list, unless it is empty."""
    text = ",".join(items)
    return [(name, text)] if text else []
