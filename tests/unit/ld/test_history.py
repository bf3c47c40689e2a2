"""The temporal representations of an entity (4.5.6 to 4.5.9, 4.5.19)."""

from typing import Any

import pytest
from msgspec import Struct

from autocity.ld.context import CORE
from autocity.ld.entity import View, parse_projection
from autocity.ld.history import Form, render_history
from autocity.ld.instants import instant
from autocity.ld.merge import SCOPE
from autocity.ld.temporal import Window, duration
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Instant, Kind

FIRST, SECOND = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02.500Z"
POINT = {"type": "Point", "coordinates": [1, 2]}
RECORDED = instant("2026-02-01T00:00:00Z")


class Recorded(Struct, frozen=True):
    id: str = "urn:ngsi-ld:Vehicle:1"
    types: tuple[str, ...] = ("https://uri.etsi.org/ngsi-ld/default-context/Vehicle",)
    scopes: tuple[str, ...] = ()
    attributes: Attributes = {}
    created_at: Instant = RECORDED
    modified_at: Instant = RECORDED
    deleted_at: Instant = 0


def of(kind: Kind, value: Any, observed_at: str | None = FIRST, **members: Any) -> Attribute:
    return Attribute(
        kind=kind,
        value=value,
        observed_at=observed_at,
        created_at=RECORDED,
        modified_at=RECORDED,
        instance_id=f"urn:ngsi-ld:instance:{members.pop('n', 1)}",
        **members,
    )


def recorded(**attributes: tuple[Attribute, ...]) -> Recorded:
    return Recorded(attributes={CORE.expand(name): instances for name, instances in attributes.items()})


def told(history: Recorded, form: Form = "normalized", **view: Any) -> dict[str, Any]:
    return render_history(history, View(**view), form=form)


def pairs(*instances: Attribute, **view: Any) -> Any:
    return told(recorded(a=instances), "temporalValues", **view)["a"]


def test_normalized_is_an_array_of_instances() -> None:
    """4.5.7: also when there is one only."""
    history = recorded(
        speed=(of("Property", 120, unit_code="KMH"), of("Property", 80, SECOND, n=2)),
        keeper=(of("Relationship", "urn:a"),),
    )
    assert told(history) == {
        "id": "urn:ngsi-ld:Vehicle:1",
        "type": "Vehicle",
        "speed": [
            {
                "type": "Property",
                "value": 120,
                "unitCode": "KMH",
                "observedAt": FIRST,
                "instanceId": "urn:ngsi-ld:instance:1",
            },
            {
                "type": "Property",
                "value": 80,
                "observedAt": SECOND,
                "instanceId": "urn:ngsi-ld:instance:2",
            },
        ],
        "keeper": [
            {
                "type": "Relationship",
                "object": "urn:a",
                "observedAt": FIRST,
                "instanceId": "urn:ngsi-ld:instance:1",
            }
        ],
    }


def test_concise_leaves_the_kind_out() -> None:
    (instance,) = told(recorded(a=(of("Property", 1),)), "concise")["a"]
    assert instance == {"value": 1, "observedAt": FIRST, "instanceId": "urn:ngsi-ld:instance:1"}


def test_deletions_are_told() -> None:
    """4.5.7: "its value set to the URI urn:ngsi-ld:null and the deletedAt Temporal Property set"."""
    gone = of("Property", NGSI_LD_NULL, None, deleted_at=RECORDED)
    assert told(recorded(a=(gone,)))["a"] == [
        {
            "type": "Property",
            "value": NGSI_LD_NULL,
            "instanceId": "urn:ngsi-ld:instance:1",
            "deletedAt": "2026-02-01T00:00:00Z",
        }
    ]
    language = of("LanguageProperty", NGSI_LD_NULL, None, deleted_at=RECORDED)
    window = Window(property="deletedAt")
    shown = render_history(recorded(a=(language,)), View(), form="temporalValues", window=window)
    assert shown["a"] == {
        "type": "LanguageProperty",
        "languageMaps": [[{"languageMap": {"@none": NGSI_LD_NULL}}, "2026-02-01T00:00:00Z"]],
    }


def test_system_times_when_asked() -> None:
    shown = told(recorded(a=(of("Property", 1),)), sys_attrs=True)
    assert shown["createdAt"] == shown["modifiedAt"] == "2026-02-01T00:00:00Z"
    assert "deletedAt" not in shown
    assert shown["a"][0]["createdAt"] == "2026-02-01T00:00:00Z"
    assert told(Recorded(deleted_at=RECORDED), sys_attrs=True)["deletedAt"] == "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("kind", "value", "member", "shown"),
    [
        ("Property", 5, "values", 5),
        (
            "GeoProperty",
            {"type": "Point", "coordinates": [1, 2]},
            "values",
            {"type": "Point", "coordinates": [1, 2]},
        ),
        ("LanguageProperty", {"en": "yes"}, "languageMaps", {"languageMap": {"en": "yes"}}),
        ("ListProperty", ["a", "b"], "valueLists", ["a", "b"]),
        ("JsonProperty", [{"id": "x"}], "jsons", {"json": [{"id": "x"}]}),
        ("VocabProperty", CORE.expand("Male"), "vocabs", {"vocab": "Male"}),
        ("Relationship", "urn:a", "objects", "urn:a"),
        ("Relationship", ["urn:a", "urn:b"], "objects", ["urn:a", "urn:b"]),
        ("ListRelationship", ["urn:a", "urn:b"], "objectLists", ["urn:a", "urn:b"]),
    ],
)
def test_pairs_of_4_5_9(kind: Kind, value: Any, member: str, shown: Any) -> None:
    assert pairs(of(kind, value), of(kind, value, SECOND)) == {
        "type": kind,
        member: [[shown, FIRST], [shown, SECOND]],
    }


def test_pairs_bear_the_time_asked_for() -> None:
    history = recorded(a=(of("Property", 1), of("Property", 2, None)))
    for property in ("createdAt", "modifiedAt"):
        shown = render_history(history, View(), form="temporalValues", window=Window(property=property))
        assert [time for _, time in shown["a"]["values"]] == ["2026-02-01T00:00:00Z"] * 2
    # An instance that was never observed has at least been recorded.
    assert pairs(of("Property", 2, None))["values"] == [[2, "2026-02-01T00:00:00Z"]]


def test_pairs_are_apart_by_dataset() -> None:
    instances = (
        of("Property", 60, dataset_id="urn:d:speed"),
        of("Property", 80, dataset_id="urn:d:common"),
        of("Property", 62, SECOND, dataset_id="urn:d:speed"),
    )
    assert pairs(*instances) == [
        {"type": "Property", "datasetId": "urn:d:speed", "values": [[60, FIRST], [62, SECOND]]},
        {"type": "Property", "datasetId": "urn:d:common", "values": [[80, FIRST]]},
    ]
    assert pairs(*instances, dataset_ids=frozenset(["urn:d:common"])) == {
        "type": "Property",
        "datasetId": "urn:d:common",
        "values": [[80, FIRST]],
    }


def test_a_language_filter_makes_properties() -> None:
    """4.15."""
    says = of("LanguageProperty", {"en": "yes", "fr": "oui"})
    assert pairs(says, lang="fr") == {"type": "Property", "values": [["oui", FIRST]]}
    (instance,) = told(recorded(a=(says,)), lang="fr")["a"]
    assert (instance["type"], instance["value"], instance["lang"]) == ("Property", "oui", "fr")


def test_an_attribute_beyond_the_page_is_empty() -> None:
    history = recorded(a=(of("Property", 1),), b=())
    assert told(history)["b"] == []
    assert told(history, "temporalValues")["b"] == {"type": "Property", "values": []}


def test_scopes_are_told_like_a_property() -> None:
    """4.5.6, and C.5.16 for one that was set before the window."""
    changed = Recorded(
        scopes=("/B",), attributes={SCOPE: (of("Property", "/A"), of("Property", ["/B", "/C"], SECOND))}
    )
    assert [instance["value"] for instance in told(changed)["scope"]] == ["/A", ["/B", "/C"]]
    assert told(changed, "temporalValues")["scope"]["values"] == [["/A", FIRST], [["/B", "/C"], SECOND]]
    assert told(Recorded(scopes=("/A", "/B")))["scope"] == [{"type": "Property", "value": ["/A", "/B"]}]
    gone = of("Property", NGSI_LD_NULL, None, deleted_at=RECORDED)
    deleted = Recorded(attributes={SCOPE: (gone,)})
    (instance,) = told(deleted)["scope"]
    assert (instance["value"], instance["deletedAt"]) == ([], "2026-02-01T00:00:00Z")
    window = Window(property="deletedAt")
    shown = render_history(deleted, View(), form="temporalValues", window=window)
    assert shown["scope"]["values"] == [[[], "2026-02-01T00:00:00Z"]]


def test_projections_apply() -> None:
    history = Recorded(
        scopes=("/A",), attributes=recorded(a=(of("Property", 1),), b=(of("Property", 2),)).attributes
    )
    assert told(history, pick=parse_projection("a", CORE)).keys() == {"a"}
    assert told(history, pick=parse_projection("id,b", CORE)).keys() == {"id", "b"}
    assert told(history, omit=parse_projection("type,a,scope", CORE)).keys() == {"id", "b"}
    assert told(history, attributes=frozenset([CORE.expand("b")])).keys() >= {"id", "type", "b"}
    assert told(history, embed=True)["@context"] == CORE.echo
    assert told(history, dataset_ids=frozenset(["urn:none"])).keys() == {"id", "type", "scope"}


def test_aggregates_have_a_member_per_method() -> None:
    history = recorded(
        speed=(of("Property", 120), of("Property", 80, SECOND), of("Property", 7, dataset_id="urn:d")),
        keeper=(of("Relationship", "urn:a"), of("Relationship", "urn:a", SECOND)),
    )
    shown = render_history(
        Recorded(scopes=("/A",), attributes=history.attributes),
        View(),
        form="aggregatedValues",
        methods=("avg", "distinctCount"),
        period=duration("PT1H"),
    )
    span = [FIRST, "2026-01-01T01:00:01Z"]
    assert shown == {
        "id": "urn:ngsi-ld:Vehicle:1",
        "type": "Vehicle",
        "speed": [
            {"type": "Property", "avg": [[100, *span]], "distinctCount": [[2, *span]]},
            {"type": "Property", "datasetId": "urn:d", "avg": [[7, *span]], "distinctCount": [[1, *span]]},
        ],
        "keeper": {"type": "Relationship", "avg": [], "distinctCount": [[1, *span]]},
    }
