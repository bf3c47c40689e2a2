"""One query tree: parsed from the languages of the standard (4.9, 4.17, 4.19, 4.23), read by the
matcher here and by the SQL compiler of the stores. A property test says that the two agree.

Where 4.9 leaves room, this is what holds:

- A constant that reads as a DateTime, Date or Time is one, quoted or not. It compares with system
  times and with strings that read as the same data type, by time.
- Of several instances of an attribute any one may match, for every operator. Within an instance, `!=`
  and `!~=` hold when nothing in its value is equal or matches: no element, no language.
- `==` looks into arrays, one level deep. The ordering and pattern operators need the value itself, for
  an array is of another data type; they never hold for relationships.
- A LanguageProperty without a language means any language, like `[*]`.
- Regular expressions are sought anywhere in the value; `^` and `$` tie them to its ends.
- An attribute that is not there fulfils no comparison, `!=` included; `!attr` asks for its absence.
"""

from __future__ import annotations

import operator as op
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple, NoReturn, cast
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from autocity.errors import BadRequestData, TooComplexQuery
from autocity.ld import geo as geometry
from autocity.ld import pattern
from autocity.ld.collation import collation as collate
from autocity.ld.context import is_name
from autocity.ld.geo import Geo as Geo
from autocity.ld.instants import moment
from autocity.model import Attribute, Entity, Instant

Compare = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


class Path(Struct, frozen=True):
    """An attribute path (4.9): attribute IRI, sub-attribute IRIs, then keys inside the value
    (`a.b[c.d]`: names ("A","B"), inside ("c","d")). System names (`createdAt`, `modifiedAt`,
    `observedAt`, `unitCode`, `datasetId` …) may stand last in `names`, unexpanded.
    `through` is the path in the entity that the Relationship `names` links to (`a{T:b}`), and
    `types` of that path are the types (T) hinted for it."""

    names: tuple[str, ...]
    inside: tuple[str, ...] = ()
    through: Path | None = None
    types: tuple[str, ...] = ()


class Temporal(Struct, frozen=True):
    """A date-time, date or time (4.6.3): microseconds since 1970, days since 1970, microseconds since
    midnight. The three are different data types and never compare with each other (4.9)."""

    kind: Literal["DateTime", "Date", "Time"]
    value: int


Scalar = str | int | float | bool | Temporal
"""A constant of a query: quoted string or URI, number, boolean, unquoted date or time."""


class Exists(Struct, frozen=True, tag=True, tag_field="node"):
    """The path leads to something."""

    path: Path


class Comparison(Struct, frozen=True, tag=True, tag_field="node"):
    """The value at the path compared with constants. One value, a list (`a==1,2`) or a range
    (`a==1..5`). For `~=` and `!~=` the one value is a regular expression."""

    path: Path
    operator: Compare
    values: tuple[Scalar, ...] = ()
    range: tuple[Scalar, Scalar] | None = None


class And(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Node, ...]


class Or(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Node, ...]


class Not(Struct, frozen=True, tag=True, tag_field="node"):
    part: Node


Node = Exists | Comparison | And | Or | Not


class TypeIs(Struct, frozen=True, tag=True, tag_field="node"):
    """The entity has this type (an IRI); leaf of a type selection (4.17), joined by And and Or."""

    type: str


class ScopeIs(Struct, frozen=True, tag=True, tag_field="node"):
    """The entity has a scope that fits (4.19): levels, `+` for any one level, a last `#` for this
    scope and everything below it. Leaf of a scope query, joined by And and Or."""

    levels: tuple[str, ...]


class AllOf(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Select, ...]


class AnyOf(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Select, ...]


Select = TypeIs | ScopeIs | AllOf | AnyOf


class Selector(Struct, frozen=True):
    """Which entities (5.2.8, 5.2.33): all that is given must hold, but a pattern of ids counts only
    without ids."""

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: Select | None = None


class Order(Struct, frozen=True):
    """One key of the requested order (4.23): a path (`id`, `type`, `createdAt` … stand unexpanded), or
    with `geometry` the distance of the GeoProperty at the path from that GeoJSON geometry."""

    path: Path
    descending: bool = False
    collation: str | None = None
    geometry: dict[str, Any] | None = None


class Query(Struct, frozen=True):
    """A whole query (5.7.2). Several selectors: any of them. Empty: every entity.
    `attributes`: IRIs of which the entity must have at least one, in a dataset of `dataset_ids`
    ("@none": the default one) when those are given."""

    selectors: tuple[Selector, ...] = ()
    q: Node | None = None
    scopes: Select | None = None
    geo: Geo | None = None
    attributes: tuple[str, ...] = ()
    dataset_ids: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 20
    offset: int = 0
    count: bool = False


Expand = Callable[[str], str]
"""Short name to IRI: the `expand` of the request's context."""

Resolve = Callable[[str], Entity | None]
"""Entity id to entity, for queries that follow links; None when there is no such entity at hand."""


MEMBERS = frozenset(
    (
        "createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt", "unitCode", "datasetId",
        "instanceId", "objectType", "valueType", "lang",
    )
)  # fmt: skip
"""Members of attributes that a path may end in; they keep their short names."""

ENTITY_MEMBERS = frozenset(("id", "type", "scope", "createdAt", "modifiedAt", "expiresAt"))
"""Members of entities that a path may consist of; they keep their short names."""

MAX_TEXT = 8_192
MAX_TERMS = 500
MAX_VALUES = 1_000
MAX_DEPTH = 30
MAX_LINKS = 10
MAX_KEYS = 20


# Parsing


def parse_q(text: str, expand: Expand, *, expand_values: Collection[str] = ()) -> Node:
    """Parse `q` (4.9). `expand_values`: IRIs of attributes whose constants are names to expand.

    Raises `errors.BadRequestData` with position and mend, `errors.TooComplexQuery` past the bounds.
    """
    parser = _Parser("q", text, expand, frozenset(expand_values))
    node = parser.alternatives()
    parser.end()
    return node


def parse_types(text: str, expand: Expand) -> Select | None:
    """Parse a type selection (4.17); None for `*`, which asks nothing."""
    if text.strip() == "*":
        return None
    return _Selection(
        "type", text, lambda name: TypeIs(expand(name)) if is_name_or_iri(name) else None
    ).whole()


def parse_scope(text: str) -> Select:
    """Parse `scopeQ` (4.19)."""
    return _Selection("scopeQ", text, _scope).whole()


def _scope(text: str) -> ScopeIs | None:
    levels = text.removeprefix("/").split("/")
    wild = levels[-1] == "#"
    fixed = levels[:-1] if wild else levels
    if not all(level == "+" or is_name(level) for level in fixed):
        return None
    return ScopeIs(tuple(levels))


def parse_order(
    text: str,
    expand: Expand,
    *,
    collation: str | None = None,
    order_from: Any = None,
    order_geometry: str = "Point",
) -> tuple[Order, ...]:
    """Parse `orderBy` (4.23). `order_from`: coordinates, JSON text or decoded, of what `dist-asc` and
    `dist-desc` measure from. Raises `errors.BadRequestData`."""
    if collation is not None:
        collate(collation)
    reference = None if order_from is None else geometry.parse_geometry(order_geometry, order_from)
    keys = text.split(",", MAX_KEYS)
    if len(keys) > MAX_KEYS:
        raise TooComplexQuery(f"orderBy takes at most {MAX_KEYS} keys")
    order = []
    for key in keys:
        name, _, direction = key.partition(";")
        if direction not in ("", "asc", "desc", "dist-asc", "dist-desc"):
            raise BadRequestData(f"orderBy {key!r:.60}: the direction is asc, desc, dist-asc or dist-desc")
        far = direction.startswith("dist-")
        if far and reference is None:
            raise BadRequestData(f"orderBy {key!r:.60} needs orderFrom, the coordinates to measure from")
        parser = _Parser("orderBy", name, expand)
        path = parser.value_path()
        parser.end()
        order.append(Order(path, direction.endswith("desc"), collation, reference if far else None))
    return tuple(order)


def id_pattern(text: str) -> Callable[[str], bool]:
    """A compiled `idPattern`: whether the regular expression is found anywhere in an id.

    Raises `errors.BadRequestData`. Matching time is linear in the id, whatever the pattern.
    """
    return pattern.search(text)


def is_name_or_iri(name: str) -> bool:
    """Whether a text is a name of the standard (4.6.2), with or without prefix, or an absolute IRI."""
    prefix, colon, rest = name.partition(":")
    if not colon:
        return is_name(name)
    if is_name(prefix) and is_name(rest):
        return True
    return bool(_SCHEME.fullmatch(prefix)) and len(rest) > 1 and not _NOT_IN_IRI.search(rest)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_NOT_IN_IRI = re.compile(r"[\s<>\"{}|\\^`\x00-\x20]")

_TOKEN = re.compile(r"[^=!<>~;|(){}\[\],\"\s]+")
_OPERATOR = re.compile(r"!~=|~=|==|!=|>=|<=|>|<")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_UNQUOTED = re.compile(r'[^;|(),"]+')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BAD_ESCAPE = re.compile(r'\\(?!["\\])')

_ORDERING = frozenset((">", ">=", "<", "<="))


class _Reader:
    """A place in a text, and how to complain about it."""

    def __init__(self, parameter: str, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise TooComplexQuery(f"{parameter} is longer than {MAX_TEXT} characters; ask in several queries")
        self.parameter = parameter
        self.text = text
        self.at = 0
        self.depth = 0
        self.terms = 0

    def fail(self, fault: str) -> NoReturn:
        rest = self.text[self.at : self.at + 20]
        where = f"before {rest!r}" if rest else "at its end"
        raise BadRequestData(f"{self.parameter} fails at position {self.at}, {where}: {fault}")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip(self, expected: str) -> bool:
        """Step over the text expected here, if it is here."""
        found = self.text.startswith(expected, self.at)
        self.at += len(expected) * found
        return found

    def expect(self, expected: str) -> None:
        if not self.skip(expected):
            self.fail(f"{expected!r} is missing")

    def match(self, shape: re.Pattern[str]) -> str:
        """Step over what has the shape; empty when nothing has."""
        found = shape.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def descend(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooComplexQuery(f"{self.parameter} nests parentheses deeper than {MAX_DEPTH}")

    def count(self) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise TooComplexQuery(f"{self.parameter} has more than {MAX_TERMS} terms; ask in several queries")

    def end(self) -> None:
        if self.at < len(self.text):
            self.fail("nothing more can stand here")


class _Parser(_Reader):
    """Reads `q` by recursive descent; `;` binds closer than `|` (4.9)."""

    def __init__(
        self, parameter: str, text: str, expand: Expand, expand_values: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(parameter, text)
        self.expand = expand
        self.expand_values = expand_values

    def alternatives(self) -> Node:
        parts = [self.conjunction()]
        while self.skip("|"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self) -> Node:
        parts = [self.term()]
        while self.skip(";"):
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def term(self) -> Node:
        if self.skip("("):
            self.descend()
            node = self.alternatives()
            self.expect(")")
            self.depth -= 1
            return node
        if self.skip("!"):
            return self.negation()
        self.count()
        path = self.path()
        operator = cast("Compare | Literal['']", self.match(_OPERATOR))
        if not operator:
            return Exists(path)
        if operator in ("~=", "!~="):
            return Comparison(path, operator, (self.expression(),))
        if operator in _ORDERING:
            return Comparison(path, operator, (self.comparable(operator),))
        return self.equality(path, operator)

    def negation(self) -> Node:
        if self.peek() == "(":
            return Not(self.term())
        self.count()
        path = self.path()
        if self.match(_OPERATOR):
            self.fail("'!' asks for the absence of an attribute; to negate a comparison use parentheses")
        return Not(Exists(path))

    # Paths

    def path(self, links: int = 0) -> Path:
        """An attribute path, through links where it has braces."""
        begin = self.at
        path = self.value_path()
        if not self.skip("{"):
            return path
        if len(path.names) != 1 or path.inside:
            self.at = begin
            self.fail("only the name of a relationship of the entity can stand before '{'")
        if links >= MAX_LINKS:
            raise TooComplexQuery(f"{self.parameter} follows more than {MAX_LINKS} links in a row")
        types = self.types()
        through = self.path(links + 1)
        self.expect("}")
        return Path(path.names, through=msgspec.structs.replace(through, types=types))

    def types(self) -> tuple[str, ...]:
        """The hint of entity types before a colon, if there is one: steps over it."""
        begin = self.at
        names = [self.match(_TOKEN)]
        while self.skip(","):
            names.append(self.match(_TOKEN))
        last, colon, attribute = names[-1].rpartition(":")
        if not colon or attribute.startswith("/"):
            if len(names) > 1:
                self.fail("types before an attribute end in ':', like {Device,Sensor:humidity}")
            self.at = begin
            return ()
        self.at -= len(attribute)
        names[-1] = last
        if not all(map(is_name_or_iri, names)):
            self.at = begin
            self.fail("the hint of a type is a name or an IRI")
        return tuple(map(self.expand, names))

    def value_path(self) -> Path:
        """A dotted path with an optional trailing path into the value (ValuePath)."""
        begin = self.at
        token = self.match(_TOKEN)
        if not token:
            self.fail("the name of an attribute is missing")
        names = [unquote(name) if "%" in name else name for name in _split(token)]
        if not all(map(is_name_or_iri, names)):
            self.at = begin
            self.fail(f"{token!r:.60} is not an attribute path; names are letters, digits and '_'")
        inside: tuple[str, ...] = ()
        if self.skip("["):
            close = self.text.find("]", self.at)
            inside = tuple(map(unquote, self.text[self.at : max(close, self.at)].split(".")))
            if close < 0 or not all(inside):
                self.fail("a path into a value is like [city] or [address.city]")
            self.at = close + 1
        return Path(tuple(self.expand_name(names, place) for place in range(len(names))), inside)

    def expand_name(self, names: Sequence[str], place: int) -> str:
        name = names[place]
        alone = len(names) == 1
        kept = (alone and name in ENTITY_MEMBERS) or (place == len(names) - 1 and name in MEMBERS)
        return name if kept else self.expand(name)

    # Constants

    def expression(self) -> str:
        """A regular expression: in quotes, or as it stands up to a ';', '|' or ')' outside its groups."""
        begin = self.at
        if self.peek() == '"':
            text = self.string()
        else:
            opened = 0
            while (char := self.peek()) and (opened or char not in ";|"):
                opened += (char == "(") - (char == ")")
                if opened < 0:
                    break
                self.at += 1
            text = self.text[begin : self.at]
        if not text:
            self.fail("a regular expression is missing")
        pattern.search(text)
        return text

    def string(self) -> str:
        begin = self.at
        raw = self.match(_STRING)
        if not raw:
            self.fail("the closing '\"' is missing")
        try:
            return msgspec.json.decode(raw, type=str)
        except (msgspec.MsgspecError, UnicodeError):
            pass
        # A regular expression in quotes: its backslashes are meant for it.
        try:
            return msgspec.json.decode(_BAD_ESCAPE.sub(r"\\\\", raw), type=str)
        except (msgspec.MsgspecError, UnicodeError):
            self.at = begin
            self.fail("this is not a JSON string")

    def comparable(self, operator: str) -> Scalar:
        """What can follow an ordering operator: number, string in quotes, date or time."""
        begin = self.at
        first, upper = self.constant()
        bare = isinstance(first, str) and self.text[begin] != '"'
        if upper is not None or isinstance(first, bool) or bare or self.peek() == ",":
            self.at = begin
            self.fail(f"{operator!r} takes one number, string in quotes, date or time")
        return first

    def equality(self, path: Path, operator: Compare) -> Comparison:
        begin = self.at
        first, upper = self.constant()
        if upper is not None:
            if _data_type(first) != _data_type(upper) or isinstance(first, bool):
                self.at = begin
                self.fail("both ends of a range are numbers, strings, dates or times alike")
            return Comparison(path, operator, range=(first, upper))
        values = [first]
        while self.skip(","):
            value, upper = self.constant()
            if upper is not None:
                self.fail("a list cannot hold a range")
            values.append(value)
            if len(values) > MAX_VALUES:
                raise TooComplexQuery(f"{self.parameter} lists more than {MAX_VALUES} values")
        if self.expand_values and _target(path) in self.expand_values:
            values = [self.expand(value) if isinstance(value, str) else value for value in values]
        return Comparison(path, operator, tuple(values))

    def constant(self) -> tuple[Scalar, Scalar | None]:
        """A constant, and the upper end when it begins a range."""
        if self.peek() == '"':
            first: Scalar = _typed(self.string())
            return first, self.single() if self.skip("..") else None
        begin = self.at
        token = self.match(_UNQUOTED)
        if not token:
            self.fail("a value is missing; an empty string is written as two quotes")
        lower, dots, _ = token.partition("..")
        if not dots:
            return self.plain(token, begin), None
        self.at = begin + len(lower) + 2
        return self.plain(lower, begin), self.single()

    def single(self) -> Scalar:
        """The upper end of a range."""
        if self.peek() == '"':
            return _typed(self.string())
        begin = self.at
        return self.plain(self.match(_UNQUOTED), begin)

    def plain(self, token: str, begin: int) -> Scalar:
        """A constant without quotes: boolean, number, date or time, else a URI or a name."""
        if token in ("true", "false"):
            return token == "true"
        if _NUMBER.fullmatch(token):
            whole = token.lstrip("-").isdecimal() and len(token) < 300
            number: int | float = int(token) if whole else float(token)
            if not isfinite(number):
                self.at = begin
                self.fail("this number is too large")
            return number
        if not token or token == "null" or _NOT_IN_IRI.search(token):
            self.at = begin
            self.fail("this is no value; put text in quotes")
        return _typed(token)


def _split(token: str) -> list[str]:
    """The names of a dotted path; dots before the last '/' or '#' belong to an IRI."""
    start = max(token.rfind("/"), token.rfind("#")) + 1
    first, *rest = token[start:].split(".")
    return [token[:start] + first, *rest]


def _typed(text: str) -> Scalar:
    found = moment(text)
    return text if found is None else Temporal(*found)


def _target(path: Path) -> str:
    """The IRI of the target element of a path."""
    return path.names[-1] if path.through is None else _target(path.through)


class _Selection(_Reader):
    """Reads selections of types or scopes: `|` and `,` for or, `;` for and, which binds closer."""

    def __init__(self, parameter: str, text: str, leaf: Callable[[str], TypeIs | ScopeIs | None]) -> None:
        super().__init__(parameter, text)
        self.leaf = leaf

    def whole(self) -> Select:
        found = self.alternatives()
        self.end()
        return found

    def alternatives(self) -> Select:
        parts = [self.conjunction()]
        while self.skip("|") or self.skip(","):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def conjunction(self) -> Select:
        parts = [self.one()]
        while self.skip(";"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def one(self) -> Select:
        if self.skip("("):
            self.descend()
            found = self.alternatives()
            self.expect(")")
            self.depth -= 1
            return found
        self.count()
        begin = self.at
        leaf = self.leaf(self.match(_UNQUOTED).strip())
        if leaf is None:
            self.at = begin
            self.fail(
                "a type is a name or an IRI"
                if self.parameter == "type"
                else "a scope is like /Madrid/Gardens, with '+' for any level and a last '#' for all below"
            )
        return leaf


# Facts: what a path leads to


class Fact(NamedTuple):
    """One scalar that a path leads to. `whole`: it is the value itself, not an element of an array or a
    URI of a relationship, so the ordering and pattern operators apply to it."""

    value: Scalar
    whole: bool = True


Facts = list[Fact]
"""The facts of one instance of an attribute; empty when its value has no scalar to compare with."""

_NO_INSTANCES: tuple[Attribute, ...] = ()


def facts(path: Path, entity: Entity) -> list[Fact]:
    """Every scalar at the path, over all instances, array elements and languages.

    What a lookup index keeps. A string that is a date or time (4.6.3) gives two facts, the string
    and the `Temporal`. An `==` (value, list, range) matches exactly when one fact does; an ordering
    comparison when one `whole` fact of the same data type does; `!=` needs the matcher. Links are
    not followed: a path through one has no facts.
    """
    return [fact for instance in _reader(path, None)(entity) for fact in instance]


def _reader(path: Path, resolve: Resolve | None) -> Callable[[Entity], Iterable[Facts]]:
    """The facts of every instance at a path, as a function of the entity; an instance for which the
    path leads nowhere is left out."""
    if path.through is not None:
        return _linked(path, path.through, resolve)
    names = path.names
    if len(names) == 1 and names[0] in ENTITY_MEMBERS:
        member = names[0]
        return lambda entity: _member_facts(_entity_member(entity, member))
    if len(names) > 1 and names[-1] in MEMBERS:
        *steps, member = names
        owners = _walker(steps)
        return lambda entity: (
            found
            for instance in owners(entity)
            for found in _member_facts(_attribute_member(instance, member))
        )
    walk, inside = _walker(names), path.inside
    if inside:
        return lambda entity: (
            found for instance in walk(entity) if (found := _facts_inside(instance, inside)) is not None
        )
    return lambda entity: map(_facts, walk(entity))


def _walker(names: Sequence[str]) -> Callable[[Entity], Iterable[Attribute]]:
    """The instances that a dotted path leads to, as a function of the entity."""
    first, *rest = names
    if not rest:
        return lambda entity: entity.attributes.get(first, _NO_INSTANCES)

    def walk(entity: Entity) -> Iterable[Attribute]:
        instances: Iterable[Attribute] = entity.attributes.get(first, _NO_INSTANCES)
        for name in rest:
            instances = [sub for instance in instances for sub in instance.sub.get(name, _NO_INSTANCES)]
        return instances

    return walk


def _linked(path: Path, through: Path, resolve: Resolve | None) -> Callable[[Entity], Iterable[Facts]]:
    """The facts of linked entities (4.9, examples 13 and 14), as a function of the linking one."""
    walk, read = _walker(path.names), _reader(through, resolve)
    hints = frozenset(through.types)

    def linked(entity: Entity) -> Iterator[Facts]:
        if resolve is None:
            return
        for instance in walk(entity):
            for id in _objects(instance):
                target = resolve(id)
                if target is not None and (not hints or not hints.isdisjoint(target.types)):
                    yield from read(target)

    return linked


def _objects(instance: Attribute) -> list[str]:
    if instance.kind not in ("Relationship", "ListRelationship"):
        return []
    value = instance.value
    return [id for id in (value if isinstance(value, list) else [value]) if isinstance(id, str)]


def _facts(instance: Attribute) -> Facts:
    """The facts of an instance (the target value or object of 4.9)."""
    kind, value = instance.kind, instance.value
    if kind == "LanguageProperty":
        return _facts_of_texts(value.values()) if isinstance(value, dict) else []
    whole = kind not in ("Relationship", "ListRelationship")
    return _facts_of(value, whole)


def _facts_of(value: Any, whole: bool = True) -> Facts:
    if isinstance(value, list):
        return [fact for element in value for fact in _scalars(element, False)]
    return _scalars(value, whole)


def _facts_of_texts(texts: Iterable[Any]) -> Facts:
    """The facts of texts in languages, each a string or an array of strings."""
    return [fact for text in texts for fact in _facts_of(text)]


def _scalars(value: Any, whole: bool) -> Facts:
    if isinstance(value, str):
        found = moment(value)
        if found is None:
            return [Fact(value, whole)]
        return [Fact(value, whole), Fact(Temporal(*found), whole)]
    if isinstance(value, bool | int | float):
        return [Fact(value, whole)]
    if isinstance(value, dict) and "@value" in value:  # a JSON-LD typed value (4.6.3)
        return _scalars(value["@value"], whole)
    return []


def _facts_inside(instance: Attribute, inside: tuple[str, ...]) -> Facts | None:
    """The facts at a trailing path inside the value; None when it leads to nothing."""
    value = instance.value
    if instance.kind == "LanguageProperty":
        if len(inside) != 1 or not isinstance(value, dict):
            return None
        if inside[0] == "*":
            return _facts_of_texts(value.values())
        return _facts_of(value[inside[0]]) if inside[0] in value else None
    for key in inside:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return _facts_of(value)


def _member_facts(value: Any) -> list[Facts]:
    """One instance with the facts of a member, or none when the member is absent."""
    if value is None:
        return []
    return [[Fact(value)] if isinstance(value, Temporal) else _facts_of(value)]


def _attribute_member(instance: Attribute, member: str) -> Any:
    if member == "observedAt":
        return instance.observed_at
    if member == "unitCode":
        return instance.unit_code
    if member == "datasetId":
        return instance.dataset_id
    if member == "instanceId":
        return instance.instance_id
    if member == "createdAt":
        return _time(instance.created_at)
    if member == "modifiedAt":
        return _time(instance.modified_at)
    if member == "deletedAt":
        return _time(instance.deleted_at)
    return instance.extra.get(member)


def _entity_member(entity: Entity, member: str) -> Any:
    if member == "id":
        return entity.id
    if member == "type":
        return list(entity.types)
    if member == "scope":
        return list(entity.scopes) or None
    if member == "createdAt":
        return _time(entity.created_at)
    if member == "modifiedAt":
        return _time(entity.modified_at)
    return entity.expires_at


def _time(at: Instant) -> Temporal | None:
    return Temporal("DateTime", at) if at else None


# Matching


Matcher = Callable[[Entity], bool]


def matcher(query: Query, resolve: Resolve | None = None) -> Matcher:
    """The query as a function, compiled once. Tells whether an entity belongs to the answer;
    `limit`, `offset`, `order` and time of expiry are not its matter. `resolve` follows links in `q`;
    without it no linked entity is ever found."""
    tests: list[Matcher] = []
    if query.selectors:
        tests.append(_any([_selector(selector) for selector in query.selectors]))
    if query.attributes:
        tests.append(_has(query.attributes, frozenset(query.dataset_ids)))
    if query.scopes is not None:
        tests.append(_select(query.scopes))
    if query.q is not None:
        tests.append(_node(query.q, resolve))
    if query.geo is not None:
        tests.append(_located(query.geo))
    return _all(tests)


def matches(query: Query, entity: Entity, resolve: Resolve | None = None) -> bool:
    """Whether the entity belongs to the answer of the query."""
    return matcher(query, resolve)(entity)


def matches_q(node: Node, entity: Entity, resolve: Resolve | None = None) -> bool:
    """Whether the entity satisfies a parsed `q`."""
    return _node(node, resolve)(entity)


def selects(select: Select, entity: Entity) -> bool:
    """Whether the entity fits a selection of types (4.17) or scopes (4.19)."""
    return _select(select)(entity)


def _all(tests: Sequence[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    return lambda entity: all(test(entity) for test in tests)


def _any(tests: Sequence[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    return lambda entity: any(test(entity) for test in tests)


def _selector(selector: Selector) -> Matcher:
    tests: list[Matcher] = []
    if selector.types is not None:
        tests.append(_select(selector.types))
    if selector.ids:  # an id takes precedence over a pattern (5.2.33)
        ids = frozenset(selector.ids)
        tests.append(lambda entity: entity.id in ids)
    elif selector.id_pattern is not None:
        found = pattern.search(selector.id_pattern)
        tests.append(lambda entity: found(entity.id))
    return _all(tests)


def _select(select: Select) -> Matcher:
    match select:
        case TypeIs(type):
            return lambda entity: type in entity.types
        case ScopeIs(levels):
            fits = _scope_fits(levels)
            return lambda entity: any(map(fits, entity.scopes))
        case AllOf(parts):
            return _all([_select(part) for part in parts])
        case AnyOf(parts):
            return _any([_select(part) for part in parts])


def _scope_fits(levels: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a scope fits (4.19); `/Madrid` and `Madrid` are the same scope (4.18)."""
    below = levels[-1] == "#"
    fixed = levels[:-1] if below else levels

    def fits(scope: str) -> bool:
        found = scope.removeprefix("/").split("/")
        if len(found) < len(fixed) or (len(found) > len(fixed) and not below):
            return False
        return all(level in ("+", one) for level, one in zip(fixed, found, strict=False))

    return fits


def _has(attributes: Sequence[str], dataset_ids: frozenset[str]) -> Matcher:
    if not dataset_ids:
        return lambda entity: any(name in entity.attributes for name in attributes)
    return lambda entity: any(
        (instance.dataset_id or "@none") in dataset_ids
        for name in attributes
        for instance in entity.attributes.get(name, _NO_INSTANCES)
    )


def _located(geo: Geo) -> Matcher:
    """Any instance of the GeoProperty may fit (5.7.2.4)."""
    fits, name = geometry.relation(geo), geo.property
    return lambda entity: any(
        instance.kind == "GeoProperty" and fits(instance.value)
        for instance in entity.attributes.get(name, _NO_INSTANCES)
    )


def _node(node: Node, resolve: Resolve | None) -> Matcher:
    match node:
        case And(parts):
            return _all([_node(part, resolve) for part in parts])
        case Or(parts):
            return _any([_node(part, resolve) for part in parts])
        case Not(part):
            test = _node(part, resolve)
            return lambda entity: not test(entity)
        case Exists(path):
            read = _reader(path, resolve)
            return lambda entity: any(True for _ in read(entity))
        case Comparison():
            return _comparison(node, resolve)


def _comparison(node: Comparison, resolve: Resolve | None) -> Matcher:
    read, operator = _reader(node.path, resolve), node.operator
    if operator in ("==", "!="):
        equal = _within(*node.range) if node.range is not None else _one_of(node.values)
        if operator == "==":
            return lambda entity: any(equal(fact.value) for found in read(entity) for fact in found)
        return lambda entity: any(not any(equal(fact.value) for fact in found) for found in read(entity))
    (constant,) = node.values
    if operator in _ORDERING:
        holds = _ordered(_ORDER[operator], constant)
        return lambda entity: any(
            fact.whole and holds(fact.value) for found in read(entity) for fact in found
        )
    search = pattern.search(str(constant))
    if operator == "~=":
        return lambda entity: any(search(text) for found in read(entity) for text in _texts(found))
    return lambda entity: any(
        bool(texts := _texts(found)) and not any(map(search, texts)) for found in read(entity)
    )


def _texts(found: Facts) -> list[str]:
    """What patterns apply to: values that are strings."""
    return [fact.value for fact in found if fact.whole and isinstance(fact.value, str)]


_ORDER: dict[str, Callable[[Any, Any], bool]] = {">": op.gt, ">=": op.ge, "<": op.lt, "<=": op.le}


def _data_type(value: Scalar) -> str:
    """The data type that two scalars must share to be compared (4.9)."""
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, str):
        return "String"
    return value.kind if isinstance(value, Temporal) else "Number"


def _one_of(values: Sequence[Scalar]) -> Callable[[Scalar], bool]:
    # By class, for Python takes 1 and true for the same.
    known: dict[type, set[Scalar]] = {}
    for value in values:
        known.setdefault(float if type(value) is int else type(value), set()).add(value)
    known[int] = known.get(float, set())
    nothing: set[Scalar] = set()
    return lambda value: value in known.get(type(value), nothing)


def _within(low: Scalar, high: Scalar) -> Callable[[Scalar], bool]:
    least, most = _ordered(op.ge, low), _ordered(op.le, high)
    return lambda value: least(value) and most(value)


def _ordered(compare: Callable[[Any, Any], bool], constant: Scalar) -> Callable[[Scalar], bool]:
    if isinstance(constant, Temporal):
        kind, at = constant.kind, constant.value
        return lambda value: isinstance(value, Temporal) and value.kind == kind and compare(value.value, at)
    if isinstance(constant, str):
        return lambda value: isinstance(value, str) and compare(value, constant)
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and compare(value, constant)
    )


# Order (4.23)


def sort(entities: Iterable[Entity], order: Sequence[Order]) -> list[Entity]:
    """Entities in the order asked for (4.23.2: data types in a fixed order); stable.

    Null and absent values come last in both directions. Text is ordered by code point unless a
    collation is asked for. Of several instances the default one counts, of several languages
    `@none` or else the first by tag. By distance, entities without the GeoProperty come after the others.
    """
    found = list(entities)
    for key in reversed(order):
        found.sort(key=order_key(key), reverse=key.descending)
    return found


def order_key(order: Order) -> Callable[[Entity], tuple[Any, ...]]:
    """The sort key of one key of the order, to be used with `reverse=order.descending`."""
    read = _value_reader(order.path)
    text = collate(order.collation) if order.collation else None
    # What comes last in both directions must be least when reversed.
    last = -1 if order.descending else 1
    reference = order.geometry

    def by_value(entity: Entity) -> tuple[Any, ...]:
        rank, value = _ranked(read(entity), text)
        return (last if rank >= _NULL else 0, rank, value)

    def by_distance(entity: Entity) -> tuple[Any, ...]:
        found = read(entity)
        if reference is not None and geometry.fault(found) is None:
            return (0, geometry.distance(reference, found))
        return (last, *by_value(entity))

    return by_value if reference is None else by_distance


_ABSENT: Any = object()

_RANK = {"Number": 0, "String": 1, "Object": 2, "Array": 3, "Boolean": 4, "Time": 5, "Date": 6, "DateTime": 7}
_NULL = 8


def _ranked(value: Any, text: Callable[[str], Any] | None) -> tuple[int, Any]:
    """The place of a value's data type (4.23.2), and what orders values of that type."""
    if value is _ABSENT:
        return _NULL + 1, 0
    if value is None:
        return _NULL, 0
    if isinstance(value, str):
        value = _typed(value)
    if isinstance(value, dict):
        return _RANK["Object"], msgspec.json.encode(value, order="deterministic")
    if isinstance(value, list):
        return _RANK["Array"], msgspec.json.encode(value, order="deterministic")
    rank = _RANK[_data_type(value)]
    if isinstance(value, Temporal):
        return rank, value.value
    return rank, text(value) if text is not None and isinstance(value, str) else value


def _value_reader(path: Path) -> Callable[[Entity], Any]:
    """The value at a path that orders the entity, `_ABSENT` when there is none."""
    names, inside = path.names, path.inside
    if len(names) == 1 and names[0] in ENTITY_MEMBERS:
        return lambda entity: _present(_entity_member(entity, names[0]))
    member = names[-1] if len(names) > 1 and names[-1] in MEMBERS else None
    steps = names[:-1] if member else names

    def read(entity: Entity) -> Any:
        level, instance = entity.attributes, None
        for name in steps:
            instances = level.get(name)
            if not instances:
                return _ABSENT
            instance = next((one for one in instances if one.dataset_id is None), instances[0])
            level = instance.sub
        assert instance is not None  # a path has at least one name
        if member:
            return _present(_attribute_member(instance, member))
        return _value_inside(instance, inside)

    return read


def _present(value: Any) -> Any:
    return _ABSENT if value is None else value


def _value_inside(instance: Attribute, inside: tuple[str, ...]) -> Any:
    value = instance.value
    if instance.kind == "LanguageProperty" and isinstance(value, dict) and (not inside or inside == ("*",)):
        return value.get("@none", value[min(value)] if value else _ABSENT)
    for key in inside:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    if isinstance(value, dict) and "@value" in value:
        return value["@value"]
    return value
