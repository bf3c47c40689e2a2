"""The query languages: parsing (4.9, 4.17, 4.19, 4.23) and what matches."""

from time import process_time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocity.errors import BadRequestData, CityError, TooComplexQuery
from autocity.ld.instants import instant
from autocity.ld.query import (
    AllOf,
    And,
    AnyOf,
    Comparison,
    Exists,
    Fact,
    Geo,
    Node,
    Not,
    Or,
    Order,
    Path,
    Query,
    ScopeIs,
    Select,
    Selector,
    Temporal,
    TypeIs,
    facts,
    id_pattern,
    is_name_or_iri,
    matcher,
    matches,
    matches_q,
    parse_order,
    parse_q,
    parse_scope,
    parse_types,
    selects,
    sort,
)
from autocity.model import Attribute, Entity

VOCABULARY = "https://city.example/"


def expand(name: str) -> str:
    return name if ":" in name else VOCABULARY + name


def entity(id: str = "urn:ngsi-ld:Vehicle:1", **attributes: Any) -> Entity:
    """An entity whose attributes are given as values (Properties), instances, or lists of instances."""

    def instances(given: Any) -> tuple[Attribute, ...]:
        if isinstance(given, tuple):
            return given
        return (given,) if isinstance(given, Attribute) else (Attribute(kind="Property", value=given),)

    return Entity(
        id=id,
        types=(expand("Vehicle"),),
        attributes={expand(name): instances(given) for name, given in attributes.items()},
        created_at=instant("2026-01-01T00:00:00Z"),
        modified_at=instant("2026-02-01T00:00:00Z"),
    )


def of(kind: Any, value: Any, **members: Any) -> Attribute:
    return Attribute(kind=kind, value=value, **members)


DEVICE = Entity(
    id="urn:ngsi-ld:Device:345",
    types=(expand("Device"),),
    attributes={expand("humidity"): (of("Property", 40),), expand("room"): (of("Relationship", "urn:room"),)},
)
ROOM = Entity(id="urn:room", types=(expand("Room"),), attributes={expand("name"): (of("Property", "Hall"),)})

CAR = entity(
    speed=(
        of("Property", 30, unit_code="KMH", observed_at="2026-01-01T00:00:00.000Z", created_at=1_000_000),
        of("Property", 60, dataset_id="urn:gps"),
    ),
    brandName="Mercedes",
    empty="",
    whole=20.0,
    parked=True,
    colours=["blue", "red", 7, True, ["deep"]],
    colour=of("LanguageProperty", {"en": "red", "fr": ["chat", "rouge"], "de": "rot"}),
    category=of("VocabProperty", expand("commercial")),
    groups=of("VocabProperty", [expand("a"), expand("b")]),
    sensor=of("Relationship", "urn:ngsi-ld:Device:345"),
    sensors=of("Relationship", ["urn:ngsi-ld:Device:1", "urn:ngsi-ld:Device:345"]),
    route=of("ListRelationship", ["urn:stop:1", "urn:stop:2"]),
    periods=of("ListProperty", ["first", "second"]),
    address={"city": "Berlin", "geo": {"zone": 5}, "tags": ["x", "y"], "nothing": None, "": 1},
    tickets=of("JsonProperty", {"id": "85a6", "value": "Overstay"}),
    raw=of("JsonProperty", None),
    location=of("GeoProperty", {"type": "Point", "coordinates": [8, 40]}),
    departure="2026-03-01T06:00:00.000Z",
    day="2026-03-01",
    opening={"@type": "Time", "@value": "08:30:00Z"},
    reading=of(
        "Property",
        5,
        extra={"valueType": "http://www.w3.org/2001/XMLSchema#int", "expiresAt": "2030-01-01T00:00:00Z"},
        sub={
            expand("raw"): (
                of("Property", {"air": {"particulate": 40}}),
                of("Property", 1, dataset_id="urn:x"),
            )
        },
    ),
)


def resolve(id: str) -> Entity | None:
    return {DEVICE.id: DEVICE, ROOM.id: ROOM}.get(id)


MATCHING = """
speed
speed==30
speed==60
speed!=30
speed!=30;speed!=60
speed>30
speed>=60
speed<31
speed==10..40
speed!=10..40
speed==1,30,"x"
speed==30.0
whole==20
whole==2e1
brandName=="Mercedes"
brandName!="Audi"
brandName==Mercedes
brandName!="Audi","BMW"
brandName>"M"
brandName=="A".."N"
brandName~="^Mer"
brandName~="ced"
brandName~=.*des$
brandName!~="^Audi"
(brandName~=M(er|xx)ced)
speed!="30"
speed!=true
empty==""
parked==true
parked!=false
parked!=1
colours=="red"
colours==7
colours==true
colours=="green","red"
colours!="green"
colours!="deep"
colour[en]=="red"
colour[fr]=="rouge"
colour[*]=="rouge"
colour=="rot"
colour[en]!="rouge"
colour[*]!="noir"
colour~="^r"
colour!~="^x"
category==https://city.example/commercial
category~="commercial$"
groups=="https://city.example/b"
sensor
sensor=="urn:ngsi-ld:Device:345"
sensor==urn:ngsi-ld:Device:345
sensor!="urn:other"
sensors=="urn:ngsi-ld:Device:345"
sensors=="urn:other","urn:ngsi-ld:Device:1"
sensors!="urn:other"
route==urn:stop:2
periods=="second"
address[city]=="Berlin"
address[geo.zone]==5
address[geo]
address[nothing]
address[nothing]!=1
address[geo]!="x"
address[tags]=="y"
address!="Berlin"
tickets[value]=="Overstay"
tickets[value]~="stay"
raw
raw!=1
location
location[type]=="Point"
location[coordinates]==40
departure==2026-03-01T06:00:00Z
departure=="2026-03-01T06:00:00Z"
departure>"2026-02-15T00:00:00Z"
departure==2026-03-01T00:00:00Z..2026-03-02T00:00:00Z
departure~="06:00"
day==2026-03-01
day<2026-03-02
opening>08:00:00Z
reading.raw[air.particulate]==40
reading.raw==1
reading.valueType==http://www.w3.org/2001/XMLSchema#int
reading.expiresAt>2029-01-01T00:00:00Z
speed.unitCode=="KMH"
speed.observedAt==2026-01-01T00:00:00Z
speed.observedAt>="2025-01-01T00:00:00Z"
speed.createdAt<2000-01-01T00:00:00Z
speed.datasetId=="urn:gps"
missing|createdAt==2026-01-01T00:00:00Z
modifiedAt>"2026-01-15T00:00:00Z"
id~="Vehicle"
type==https://city.example/Vehicle
!heading
!heading;speed>25
!(speed>100)
(speed>25|missing);parked==true
missing|speed;parked==true
speed;missing|parked
((speed>50|rpm>3000);brandName=="Mercedes")
sensor{humidity}==40
sensor{Device:humidity}==40
sensor{Room,Device:humidity}>39
sensors{humidity}
sensor{room{name}}=="Hall"
sensor{Device:room{Room:name}}~="^H"
https://city.example/speed==30
https://city.example/reading.raw==1
https%3A%2F%2Fcity%2Eexample%2Fspeed==30
""".strip().splitlines()

NOT_MATCHING = """
missing
missing==1
missing!=1
missing!~="x"
!speed
speed>60
speed=="30"
speed==10..20
speed!=10..70
speed~="3.*"
speed!~="9"
parked==1
parked=="true"
whole==true
brandName>100
brandName=="mercedes"
brandName!~="ced"
brandName!="Audi","Mercedes"
colours=="deep"
colours!="red"
colours!="green","red"
colours>"a"
colours~="red"
colours!~="green"
colour[fr]=="red"
colour[en]=="rouge"
colour[es]
colour[en.x]
colour[*]!="red"
colour!~="^r"
category==commercial
groups>"a"
sensor>"urn:a"
sensor~="Device"
sensor!~="Room"
sensors!="urn:ngsi-ld:Device:345"
route>"a"
periods~="first"
address[postcode]
address[postcode]!="x"
address[city.x]
address=="Berlin"
raw==1
location=="Point"
departure>2026-03-01
departure>08:00:00Z
departure>"a"
day>="2026-03-02"
opening=="8:30"
speed.observedAt>2026-06-01T00:00:00Z
speed.modifiedAt
speed.deletedAt
speed.speed
reading.missing[a]
expiresAt
scope
unitCode
sensor{humidity}==41
sensor{Vehicle:humidity}==40
sensor{name}
brandName{humidity}
missing{humidity}
speed>25;missing
(speed>25|missing);parked==false
""".strip().splitlines()


@pytest.mark.parametrize("q", MATCHING)
def test_matches_by_4_9(q: str) -> None:
    assert matches_q(parse_q(q, expand), CAR, resolve)


@pytest.mark.parametrize("q", NOT_MATCHING)
def test_does_not_match_by_4_9(q: str) -> None:
    assert not matches_q(parse_q(q, expand), CAR, resolve)


def test_expand_values_expands_the_constants_of_an_attribute() -> None:
    node = parse_q('category=="commercial";brandName=="Mercedes"', expand, expand_values=[expand("category")])
    assert matches_q(node, CAR)
    assert node == And(
        (
            Comparison(Path((expand("category"),)), "==", (expand("commercial"),)),
            Comparison(Path((expand("brandName"),)), "==", ("Mercedes",)),
        )
    )


def test_links_lead_nowhere_without_entities_at_hand() -> None:
    assert not matches_q(parse_q("sensor{humidity}==40", expand), CAR)
    assert not matches_q(parse_q("sensor{humidity}==40", expand), CAR, lambda id: None)


def test_and_binds_closer_than_or() -> None:
    a, b, c = (Exists(Path((expand(name),))) for name in "abc")
    assert parse_q("a;b|c", expand) == Or((And((a, b)), c))
    assert parse_q("a;(b|c)", expand) == And((a, Or((b, c))))
    assert parse_q("!a", expand) == Not(a)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a==5", 5),
        ("a==-5.25e1", -52.5),
        ('a=="5"', "5"),
        ('a=="say \\"hi\\" \\u00e9"', 'say "hi" é'),
        ("a==true", True),
        ("a==urn:x:y", "urn:x:y"),
        ("a==2026-01-01", Temporal("Date", 20_454)),
        ('a=="2026-01-01"', Temporal("Date", 20_454)),
        ("a>00:00:01Z", Temporal("Time", 1_000_000)),
        ('a~="\\d+\\.\\"x"', '\\d+\\."x'),
        ('a~="a;b|c)"', None),
        ("a~=(x|y);b", "(x|y)"),
    ],
)
def test_reads_constants(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(BadRequestData):
            parse_q(text, expand)
        return
    node = parse_q(text, expand)
    comparison = node.parts[0] if isinstance(node, And) else node
    assert isinstance(comparison, Comparison)
    assert comparison.values == (value,)
    assert type(comparison.values[0]) is type(value)


def test_reads_paths() -> None:
    def path(text: str) -> Path:
        node = parse_q(text, expand)
        assert isinstance(node, Exists)
        return node.path

    assert path("a.b[c.d-e]") == Path((expand("a"), expand("b")), ("c", "d-e"))
    assert path("a.observedAt") == Path((expand("a"), "observedAt"))
    assert path("observedAt.a") == Path((expand("observedAt"), expand("a")))
    assert path("Größe_2") == Path((expand("Größe_2"),))
    assert path("ex:a.b") == Path(("ex:a", expand("b")))
    assert path("a{T,U:b{c}}") == Path(
        (expand("a"),),
        through=Path((expand("b"),), through=Path((expand("c"),)), types=(expand("T"), expand("U"))),
    )


@pytest.mark.parametrize(
    ("q", "position", "mend"),
    [
        ("", 0, "name of an attribute is missing"),
        ("a==", 3, "a value is missing"),
        ("a=1", 1, "nothing more"),
        ("a;;b", 2, "name of an attribute is missing"),
        ("a|", 2, "name of an attribute is missing"),
        ("(a", 2, "')' is missing"),
        ("a)", 1, "nothing more"),
        ("1a", 0, "letters, digits and '_'"),
        ("a-b", 0, "letters, digits and '_'"),
        ("a..b", 0, "letters, digits and '_'"),
        ("a b", 1, "nothing more"),
        ("a[", 2, "[city]"),
        ("a[]", 2, "[city]"),
        ("a[b.]", 2, "[city]"),
        ("a{b", 3, "'}' is missing"),
        ("a.b{c}", 0, "relationship"),
        ("a[b]{c}", 0, "relationship"),
        ("a{T,U}", 5, "end in ':'"),
        ("a{1T:b}", 2, "a name or an IRI"),
        ("!a==1", 4, "parentheses"),
        ("a>true", 2, "takes one number"),
        ("a>abc", 2, "takes one number"),
        ("a>1..2", 2, "takes one number"),
        ("a>1,2", 2, "takes one number"),
        ('a=="x', 3, "closing"),
        ('a=="\x01"', 3, "not a JSON string"),
        ('a==1.."x"', 3, "range"),
        ("a==true..false", 3, "range"),
        ("a==1,2..3", 9, "list cannot hold a range"),
        ("a==1,", 5, "a value is missing"),
        ("a==null", 3, "quotes"),
        ("a==Eiffel Tower", 3, "quotes"),
        ("a==1e999", 3, "too large"),
        ("a~=", 3, "regular expression is missing"),
    ],
)
def test_refuses_with_position_and_mend(q: str, position: int, mend: str) -> None:
    with pytest.raises(BadRequestData) as refusal:
        parse_q(q, expand)
    assert f"position {position}," in refusal.value.detail
    assert mend in refusal.value.detail


@pytest.mark.parametrize(
    "q",
    [
        "(" * 4_000 + "a" + ")" * 4_000,
        "!(" * 2_000 + "a" + ")" * 2_000,
        "a;" * 3_000 + "a",
        "a==" + ",".join(["1"] * 3_000),
        "a" * 100_000,
        "a{" * 20 + "b" + "}" * 20,
        "a=='" + "9" * 1_000_000,
    ],
)
def test_hostile_queries_are_refused_at_once(q: str) -> None:
    began = process_time()
    with pytest.raises(TooComplexQuery):
        parse_q(q, expand)
    assert process_time() - began < 0.2


def test_hostile_patterns_are_refused_or_harmless() -> None:
    with pytest.raises(BadRequestData):
        parse_q('a~="(a)\\\\1"', expand)
    began = process_time()
    assert not matches_q(parse_q('a~="(x+x+)+y"', expand), entity(a="x" * 5_000))
    assert process_time() - began < 1


# Parsing is the inverse of writing.

NAMES = st.text("abcXYZ_9é", min_size=1, max_size=4).filter(lambda name: name[0] not in "_9")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS.filter(lambda text: not text[:1].isdigit()),
)
PATHS = st.deferred(
    lambda: st.one_of(
        st.builds(
            lambda names, inside: Path(tuple(map(expand, names)), tuple(inside)),
            st.lists(NAMES, min_size=1, max_size=3),
            st.lists(st.text("abc-:é ", min_size=1, max_size=3), max_size=2),
        ),
        st.builds(
            lambda name, through, types: Path(
                (expand(name),), through=msgspec.structs.replace(through, types=tuple(map(expand, types)))
            ),
            NAMES,
            PATHS,
            st.lists(NAMES, max_size=2),
        ),
    )
)
LEAVES: st.SearchStrategy[Node] = st.one_of(
    PATHS.map(Exists),
    st.builds(
        lambda path, operator, values: Comparison(path, operator, tuple(values)),
        PATHS,
        st.sampled_from(["==", "!="]),
        st.lists(st.one_of(SCALARS, st.booleans()), min_size=1, max_size=3),
    ),
    st.builds(
        lambda path, operator, value: Comparison(path, operator, (value,)),
        PATHS,
        st.sampled_from([">", ">=", "<", "<="]),
        SCALARS,
    ),
    st.builds(
        lambda path, operator, ends: Comparison(path, operator, range=ends),
        PATHS,
        st.sampled_from(["==", "!="]),
        st.tuples(st.integers(), st.integers()),
    ),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.lists(part, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
        part.map(Not),
    ),
    max_leaves=6,
)


def write(node: Node) -> str:
    match node:
        case And(parts):
            return "(" + ";".join(map(write, parts)) + ")"
        case Or(parts):
            return "(" + "|".join(map(write, parts)) + ")"
        case Not(Exists(path)):
            return "!" + write_path(path)
        case Not(part):
            return f"!({write(part)})"
        case Exists(path):
            return write_path(path)
        case Comparison(path, operator, values, ends):
            texts = [msgspec.json.encode(value).decode() for value in ends or values]
            return write_path(path) + operator + (".." if ends else ",").join(texts)
    raise AssertionError(node)


def write_path(path: Path) -> str:
    names = ".".join(name.removeprefix(VOCABULARY) for name in path.names)
    if path.through is not None:
        hint = ",".join(name.removeprefix(VOCABULARY) for name in path.through.types)
        return f"{names}{{{hint}{':' if hint else ''}{write_path(path.through)}}}"
    return names + (f"[{'.'.join(path.inside)}]" if path.inside else "")


def links(node: Node) -> int:
    match node:
        case And(parts) | Or(parts):
            return max(map(links, parts))
        case Not(part):
            return links(part)
        case Exists(path) | Comparison(path):
            return write_path(path).count("{")
    raise AssertionError(node)


@settings(max_examples=120, deadline=None)
@given(NODES)
def test_what_is_written_is_parsed(node: Node) -> None:
    if links(node) <= 10 and len(write(node)) <= 8_000:
        assert msgspec.json.encode(parse_q(write(node), expand)) == msgspec.json.encode(node)


@settings(max_examples=300)
@given(st.text('ab.;|()[]{}!=<>~",:1-é% \\T#', max_size=25))
def test_any_text_is_a_query_or_a_refusal(text: str) -> None:
    try:
        matches_q(parse_q(text, expand), CAR, resolve)
    except CityError as refusal:
        assert refusal.detail


# Facts: what a store may rely on.

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.sampled_from([0.5, 1.0, -2.0]),
        st.sampled_from(
            ["", "a", "b", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.0Z", "08:00:00Z"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
INSTANCES = st.one_of(
    st.builds(of, st.just("Property"), VALUES),
    st.builds(of, st.just("JsonProperty"), VALUES),
    st.builds(of, st.just("Relationship"), st.sampled_from(["a", "b", ["a"], ["a", "b"]])),
    st.builds(
        of,
        st.just("LanguageProperty"),
        st.dictionaries(st.sampled_from(["en", "fr"]), st.sampled_from(["a", "b", ["a", "b"]]), min_size=1),
    ),
)
CONSTANTS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, "a", "b", "", Temporal("Date", 20_454), Temporal("Time", 28_800_000_000)]),
)


def same_type(one: Any, other: Any) -> bool:
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        return one.kind == other.kind
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    return all(numbers) or (not any(numbers) and type(one) is type(other))


def rank(value: Any) -> Any:
    return value.value if isinstance(value, Temporal) else value


@settings(max_examples=200, deadline=None)
@given(
    st.lists(INSTANCES, max_size=3).map(tuple),
    st.sampled_from([(), ("a",), ("en",), ("*",)]),
    st.sampled_from(["==", ">", ">=", "<", "<="]),
    CONSTANTS,
)
def test_facts_answer_what_the_matcher_answers(
    instances: Any, inside: Any, operator: Any, constant: Any
) -> None:
    """4.9: `==` when one fact is equal, ordering when one whole fact of the same data type is."""
    path = Path((expand("a"),), inside)
    found = facts(path, entity(a=instances))
    compare = {
        "==": lambda value: rank(value) == rank(constant),
        ">": lambda value: rank(value) > rank(constant),
        ">=": lambda value: rank(value) >= rank(constant),
        "<": lambda value: rank(value) < rank(constant),
        "<=": lambda value: rank(value) <= rank(constant),
    }[operator]
    expected = any(
        same_type(fact.value, constant) and (fact.whole or operator == "==") and compare(fact.value)
        for fact in found
    )
    assert matches_q(Comparison(path, operator, (constant,)), entity(a=instances)) is expected


@given(INSTANCES, CONSTANTS)
def test_within_one_instance_unequal_is_not_equal(instance: Attribute, constant: Any) -> None:
    path, subject = Path((expand("a"),)), entity(a=instance)
    equal = matches_q(Comparison(path, "==", (constant,)), subject)
    assert matches_q(Comparison(path, "!=", (constant,)), subject) is not equal


def test_facts_tell_elements_from_whole_values() -> None:
    assert facts(Path((expand("colours"),)), CAR) == [
        Fact("blue", False), Fact("red", False), Fact(7, False), Fact(True, False),
    ]  # fmt: skip
    assert facts(Path((expand("sensor"),)), CAR) == [Fact("urn:ngsi-ld:Device:345", False)]
    assert facts(Path((expand("day"),)), CAR) == [Fact("2026-03-01"), Fact(Temporal("Date", 20_513))]
    assert facts(Path((expand("speed"), "observedAt")), CAR)[1] == Fact(
        Temporal("DateTime", instant("2026-01-01T00:00:00Z"))
    )
    assert facts(Path((expand("address"),)), CAR) == []
    assert facts(parse_q("sensor{humidity}", expand).path, CAR) == []  # type: ignore[union-attr]


# Types and scopes

A, B, C = (TypeIs(expand(name)) for name in "ABC")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("A", A),
        ("A|B", AnyOf((A, B))),
        ("A,B", AnyOf((A, B))),
        ("(A;B)", AllOf((A, B))),
        ("(A;B)|C", AnyOf((AllOf((A, B)), C))),
        ("(A;B),C", AnyOf((AllOf((A, B)), C))),
        ("A;B,C", AnyOf((AllOf((A, B)), C))),
        ("((A|B);C)", AllOf((AnyOf((A, B)), C))),
        ("https://x.example/c#T", TypeIs("https://x.example/c#T")),
        ("*", None),
    ],
)
def test_type_selections_of_4_17(text: str, tree: Select | None) -> None:
    assert parse_types(text, expand) == tree


@pytest.mark.parametrize("text", ["", "A,", ",A", "A;", "(A", "A)", "(A;)", "A B", "1A", "A<B", "**", "()"])
def test_refuses_broken_type_selections(text: str) -> None:
    with pytest.raises(BadRequestData, match=r"^type fails at position \d"):
        parse_types(text, expand)


@pytest.mark.parametrize("text", ["(" * 1_000 + "A" + ")" * 1_000, "A," * 3_000 + "A", "A" * 50_000])
def test_hostile_type_selections_are_refused(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        parse_types(text, expand)


def scoped(*scopes: str) -> Entity:
    return Entity(id="urn:x", types=("T",), scopes=scopes)


@pytest.mark.parametrize(
    ("text", "fitting", "other"),
    [
        ("/Madrid", ["/Madrid", "Madrid"], ["/Madrid/Gardens", "/Mad"]),
        (
            "/Madrid/Gardens/#",
            ["/Madrid/Gardens", "/Madrid/Gardens/ParqueNorte", "/Madrid/Gardens/ParqueNorte/Parterre1"],
            ["/Madrid", "/Madrid/Gardenside"],
        ),
        (
            "/Madrid/+/ParqueNorte",
            ["/Madrid/Sights/ParqueNorte"],
            ["/Madrid/ParqueNorte", "/Madrid/a/b/ParqueNorte"],
        ),
        ("/+/#", ["/a", "/a/b"], []),
        ("/#", ["/a", "a/b"], []),
        ("CompanyB", ["/CompanyB"], ["/CompanyA"]),
    ],
)
def test_scope_queries_of_4_19(text: str, fitting: list[str], other: list[str]) -> None:
    query = parse_scope(text)
    assert all(selects(query, scoped("/Elsewhere", scope)) for scope in fitting)
    assert not any(
        selects(query, scoped("/Elsewhere" if "#" not in text[:4] else scope, scope)) for scope in other
    )
    assert not selects(query, scoped())


def test_scope_queries_combine() -> None:
    query = parse_scope("(/Madrid/Districts;/CompanyA)|/CompanyB")
    assert query == AnyOf(
        (AllOf((ScopeIs(("Madrid", "Districts")), ScopeIs(("CompanyA",)))), ScopeIs(("CompanyB",)))
    )
    assert selects(query, scoped("/Madrid/Districts", "/CompanyA"))
    assert not selects(query, scoped("/Madrid/Districts"))
    assert selects(parse_scope("/A;/B,/C"), scoped("/C"))


@pytest.mark.parametrize("text", ["", "/", "/#/a", "/a/#b", "/a//b", "/1a", "/a-b", "/a/", "#a", "/+a"])
def test_refuses_broken_scope_queries(text: str) -> None:
    with pytest.raises(BadRequestData, match="like /Madrid/Gardens"):
        parse_scope(text)


@pytest.mark.parametrize(
    ("name", "valid"),
    [("a", True), ("é9_", True), ("ex:a", True), ("urn:a:b", True), ("https://a/b?c=d", True), ("汽车", True),
     ("", False), ("9a", False), ("_a", False), ("a-b", False), ("a b", False), (":a", False), ("a:", False),
     ("https://a b", False), ("a<b", False), ("1:a", False)],
)  # fmt: skip
def test_names_of_4_6_2(name: str, valid: bool) -> None:
    assert is_name_or_iri(name) is valid


# Whole queries


def test_selectors_are_alternatives_and_ids_precede_patterns() -> None:
    """5.2.33: "id takes precedence over idPattern"."""
    vehicle = TypeIs(expand("Vehicle"))
    by_id = Selector(ids=(CAR.id,), id_pattern="^urn:nothing", types=vehicle)
    assert matches(Query(selectors=(by_id,)), CAR)
    assert not matches(Query(selectors=(Selector(id_pattern="^urn:nothing"),)), CAR)
    assert matches(Query(selectors=(Selector(id_pattern="Vehicle:1$"), Selector(types=A))), CAR)
    assert not matches(Query(selectors=(Selector(ids=(CAR.id,), types=A), Selector(types=B))), CAR)
    assert matches(Query(), CAR)
    assert matches(Query(selectors=(Selector(),)), CAR)


def test_every_part_of_a_query_must_hold() -> None:
    """5.7.2.4: of the attributes asked for one is enough; of several GeoProperty instances too."""
    here = Geo("near", {"type": "Point", "coordinates": [8.0, 40.0]}, expand("location"), max_distance=1000.0)
    fits = matcher(Query(attributes=(expand("x"), expand("speed")), q=parse_q("speed>50", expand), geo=here))
    assert fits(CAR)
    assert not fits(entity(speed=60))
    assert not fits(entity(speed=40, location=CAR.attributes[expand("location")]))
    assert not matches(Query(attributes=(expand("x"),)), CAR)
    assert not matches(Query(scopes=parse_scope("/#")), CAR)
    property_only = of("Property", {"type": "Point", "coordinates": [8, 40]})
    assert not matches(Query(geo=here), entity(location=property_only))
    far = of("GeoProperty", {"type": "Point", "coordinates": [9, 50]})
    both = (far, msgspec.structs.replace(CAR.attributes[expand("location")][0], dataset_id="urn:d"))
    assert matches(Query(geo=here), entity(location=both))
    assert not matches(Query(geo=here), entity(location=far))


def test_datasets_narrow_the_attributes_asked_for() -> None:
    speed = (expand("speed"),)
    assert matches(Query(attributes=speed, dataset_ids=("urn:gps",)), CAR)
    assert matches(Query(attributes=speed, dataset_ids=("@none",)), CAR)
    assert not matches(Query(attributes=speed, dataset_ids=("urn:other",)), CAR)


def test_id_patterns_are_sought_anywhere() -> None:
    assert id_pattern("Vehicle")(CAR.id)
    assert not id_pattern("^Vehicle")(CAR.id)
    with pytest.raises(BadRequestData):
        id_pattern("[")


# Order


def ordered(text: str, *entities: Entity, **how: Any) -> list[str]:
    return [one.id for one in sort(entities, parse_order(text, expand, **how))]


def test_data_types_have_the_order_of_4_23_2() -> None:
    values: list[Any] = [
        -1, 2.5, "a", "b", {"k": 1}, [1], [2], False, True, "08:00:00Z", "09:00:00Z",
        "2026-01-01", "2026-01-02", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", None,
    ]  # fmt: skip
    entities = [entity(f"urn:{n}", a=value) for n, value in enumerate(values)] + [entity("urn:none")]
    ids = [one.id for one in entities]
    assert ordered("a", *reversed(entities)) == ids
    assert ordered("a;asc", *entities) == ids
    # What has no value is last in both directions.
    assert ordered("a;desc", *entities) == [*reversed(ids[:-2]), *reversed(ids[-2:])]


def test_several_keys_apply_in_turn() -> None:
    one, two, three = entity("urn:1", a=1, b=2), entity("urn:2", a=1, b=3), entity("urn:3", a=0, b=2)
    assert ordered("a,b;desc", one, two, three) == ["urn:3", "urn:2", "urn:1"]
    assert ordered("b;desc,a", one, two, three) == ["urn:2", "urn:3", "urn:1"]
    assert ordered("type,id;desc", one, two, three) == ["urn:3", "urn:2", "urn:1"]


def test_orders_by_members_sub_attributes_and_inside_values() -> None:
    def with_times(id: str, created: int, value: int, instance: int, sub: str) -> Entity:
        attribute = of("Property", value, created_at=instance, sub={expand("s"): (of("Property", sub),)})
        return msgspec.structs.replace(entity(id, a=attribute), created_at=created)

    first, second = with_times("urn:1", 2, 9, 5, "x"), with_times("urn:2", 1, 1, 7, "b")
    assert ordered("createdAt", first, second) == ["urn:2", "urn:1"]
    assert ordered("a.createdAt", first, second) == ["urn:1", "urn:2"]
    assert ordered("a.s", first, second) == ["urn:2", "urn:1"]
    inside = [entity("urn:1", a={"c": "z"}), entity("urn:2", a={"c": "y"}), entity("urn:3", a={"d": 1})]
    assert ordered("a[c]", *inside) == ["urn:2", "urn:1", "urn:3"]
    names = [
        entity("urn:1", a=of("LanguageProperty", {"en": "b", "@none": "x"})),
        entity("urn:2", a=of("LanguageProperty", {"en": "c", "fr": "a"})),
    ]
    assert ordered("a", *names) == ["urn:2", "urn:1"]
    assert ordered("a[en]", *names) == ["urn:1", "urn:2"]


def test_the_default_instance_counts() -> None:
    both = (of("Property", 1, dataset_id="urn:d"), of("Property", 9))
    assert ordered("a", entity("urn:1", a=both), entity("urn:2", a=5)) == ["urn:2", "urn:1"]


def test_text_is_ordered_by_code_point_or_by_collation() -> None:
    names = [entity("urn:b", a="b"), entity("urn:accent", a="á"), entity("urn:A", a="A")]
    assert ordered("a", *names) == ["urn:A", "urn:b", "urn:accent"]
    assert ordered("a", *names, collation="und") == ["urn:A", "urn:accent", "urn:b"]
    assert ordered("a;desc", *names, collation="und") == ["urn:b", "urn:accent", "urn:A"]


def test_orders_by_distance() -> None:
    """4.23.2: what is not a GeoProperty comes after what is."""
    places = [
        entity("urn:far", p=of("GeoProperty", {"type": "Point", "coordinates": [9.0, 42.0]})),
        entity("urn:near", p=of("GeoProperty", {"type": "Point", "coordinates": [8.01, 40.01]})),
        entity("urn:text", p="b"),
        entity("urn:number", p=1),
        entity("urn:none"),
    ]
    last = ["urn:number", "urn:text", "urn:none"]
    assert ordered("p;dist-asc", *places, order_from="[8,40]") == ["urn:near", "urn:far", *last]
    descending = ordered("p;dist-desc", *places, order_from=[8, 40])
    assert descending[:2] == ["urn:far", "urn:near"]
    assert descending[-1] == "urn:none"
    line = ordered("p;dist-asc", *places, order_from="[[9,42],[9,45]]", order_geometry="LineString")
    assert line[:2] == ["urn:far", "urn:near"]


@given(st.lists(VALUES, max_size=6), st.booleans())
def test_sorting_keeps_everything_and_is_stable(values: list[Any], descending: bool) -> None:
    entities = [entity(f"urn:{n}", a=value) for n, value in enumerate(values)]
    order = (Order(Path((expand("a"),)), descending),)
    once = sort(entities, order)
    assert sorted(one.id for one in once) == sorted(one.id for one in entities)
    assert sort(once, order) == once
    same = [entity(f"urn:{n}", a=1) for n in range(5)]
    assert sort(same, order) == same


@pytest.mark.parametrize(
    ("text", "how", "mend"),
    [
        ("a;up", {}, "asc, desc, dist-asc or dist-desc"),
        ("a;dist-asc", {}, "orderFrom"),
        ("a,", {}, "missing"),
        ("a{b}", {}, "nothing more"),
        ("a==1", {}, "nothing more"),
        ("a", {"collation": "!!nope"}, "language tag"),
        ("a;dist-asc", {"order_from": "[8]"}, "longitude, latitude"),
        ("a;dist-asc", {"order_from": "[8"}, "JSON"),
        ("a;dist-asc", {"order_from": "[8,40]", "order_geometry": "Circle"}, "geometry"),
    ],
)
def test_refuses_broken_orders(text: str, how: Any, mend: str) -> None:
    with pytest.raises(BadRequestData, match=mend):
        parse_order(text, expand, **how)


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(TooComplexQuery):
        parse_order(",".join("a" * 30), expand)
