"""Common behaviours of the HTTP binding (CIM 009, 6.3)."""

from __future__ import annotations

from typing import Any

import pytest

BUS = "urn:ngsi-ld:Vehicle:1"
MINIMAL = {"id": "urn:ngsi-ld:Vehicle:9", "type": "Vehicle"}
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"


# 6.3.2, 6.3.3 errors


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "InvalidRequest"),
        (b"{", "InvalidRequest"),
        (b"\xff\xfe", "InvalidRequest"),
        (b'{"id": NaN}', "InvalidRequest"),
        (b"[" * 10_000 + b"]" * 10_000, "InvalidRequest"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "InvalidRequest"),
        (b"[]", "InvalidRequest"),
        (b'"text"', "InvalidRequest"),
        (b"null", "InvalidRequest"),
        (b"{}", "BadRequestData"),
        (b'{"id": 5, "type": "Vehicle"}', "BadRequestData"),
        (b'{"id": "no uri", "type": "Vehicle"}', "BadRequestData"),
        (b'{"id": "urn:a:1", "type": []}', "BadRequestData"),
        (b'{"id": "urn:a:1", "type": "Vehicle", "speed": null}', "BadRequestData"),
        (
            b'{"id": "urn:a:1", "type": "Vehicle", "speed": {"type": "Relationship", "value": 1}}',
            "BadRequestData",
        ),
        (b'{"id": "urn:a:1", "type": "Vehicle", "a<b": {"type": "Property", "value": 1}}', "BadRequestData"),
        (b'{"id": "urn:a:1", "type": "Vehicle", "speed": "urn:ngsi-ld:null"}', "BadRequestData"),
    ],
)
async def test_broken_bodies_are_refused_with_problem_details(api: Any, raw: bytes, kind: str) -> None:
    assert (await api.post("/entities", raw=raw)).refuses(400, kind)
    assert (await api.get("/entities?local=true")).json == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/entities"),
        ("PUT", f"/entities/{BUS}"),
        ("PATCH", f"/entities/{BUS}"),
        ("POST", f"/entities/{BUS}/attrs"),
        ("PATCH", f"/entities/{BUS}/attrs"),
        ("PATCH", f"/entities/{BUS}/attrs/speed"),
        ("PUT", f"/entities/{BUS}/attrs/speed"),
        ("POST", "/entityOperations/create"),
        ("POST", "/entityOperations/upsert"),
        ("POST", "/entityOperations/update"),
        ("POST", "/entityOperations/merge"),
        ("POST", "/entityOperations/delete"),
        ("POST", "/entityOperations/query"),
        ("POST", "/temporal/entities"),
        ("POST", f"/temporal/entities/{BUS}/attrs"),
        ("PATCH", f"/temporal/entities/{BUS}/attrs/speed/urn:x:1"),
        ("POST", "/temporal/entityOperations/query"),
        ("POST", "/subscriptions"),
        ("PATCH", "/subscriptions/urn:x:1"),
        ("POST", "/jsonldContexts"),
    ],
)
class TestEveryBody:
    async def test_is_refused_when_it_is_no_json(self, api: Any, method: str, path: str) -> None:
        assert (await api.call(method, path, raw=b"{oops")).refuses(400, "InvalidRequest")

    async def test_is_refused_bare_when_its_type_is_unknown(self, api: Any, method: str, path: str) -> None:
        for type in ("text/plain", "application/xml", "application/geo+json", ""):
            reply = await api.call(method, path, raw=b"{}", Content_Type=type)
            assert (reply.status, reply.body) == (415, b"")

    async def test_is_refused_when_a_parameter_is_unknown(self, api: Any, method: str, path: str) -> None:
        reply = await api.call(method, f"{path}?ofset=3", raw=b"{}")
        assert reply.refuses(400, "InvalidRequest")
        assert "ofset is not a parameter here" in reply.json["detail"]


async def test_every_fault_of_a_query_is_told_at_once(api: Any) -> None:
    reply = await api.get("/entities?limit=2000&ofset=4&count=maybe&offset=-1&limit=3")
    assert reply.refuses(400, "InvalidRequest")
    assert reply.json["detail"] == (
        "limit must be 0 to 1000; ofset is not a parameter here (offset is); count must be true or false; "
        "offset must be 0 to 1000000000; limit is given twice"
    )


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_a_wrong_method_is_405_with_allow(api: Any, method: str) -> None:
    reply = await api.call(method, "/subscriptions", raw=b"{}")
    assert reply.refuses(405, "MethodNotAllowed")
    assert reply.header("Allow") == "GET, HEAD, OPTIONS, POST"


# 6.3.4 preconditions


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/ld+json", "application/ld+json"),
        ("application/ld+json, application/json", "application/json"),
        ("application/geo+json, application/json", "application/json"),
        ("application/json;q=0.1, application/ld+json;q=0.9", "application/ld+json"),
        ("application/json;q=0, */*", "application/ld+json"),
        ("text/html, application/geo+json;q=0.8, */*;q=0.1", "application/geo+json"),
        ("Application/LD+JSON; q=1.000", "application/ld+json"),
        ("application/json;q=high", "application/json"),
    ],
)
async def test_accept_selects_the_representation(api: Any, bus: Any, accept: str, media: str) -> None:
    await api.create(bus)
    reply = await api.get(f"/entities/{BUS}", Accept=accept)
    assert (reply.status, reply.header("Content-Type")) == (200, media)


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/xml, image/*"])
async def test_what_cannot_be_given_is_406_with_what_can(api: Any, bus: Any, accept: str) -> None:
    await api.create(bus)
    reply = await api.get(f"/entities/{BUS}", Accept=accept)
    assert reply.refuses(406, "NotAcceptable")
    assert reply.json["availableRepresentations"] == [
        "application/json",
        "application/ld+json",
        "application/geo+json",
    ]


@pytest.mark.parametrize("path", ["/subscriptions", "/types", f"/temporal/entities/{BUS}", "/jsonldContexts"])
async def test_geojson_is_for_entities_only(api: Any, path: str) -> None:
    reply = await api.get(path, Accept="application/geo+json")
    assert reply.refuses(406, "NotAcceptable")
    assert "application/geo+json" not in reply.json["availableRepresentations"]


async def test_merge_patch_is_json_on_patch_only(api: Any, bus: Any) -> None:
    await api.create(bus)
    change = {"speed": {"value": 31}}
    reply = await api.patch(f"/entities/{BUS}", change, Content_Type="application/merge-patch+json")
    assert reply.status == 204
    assert (await api.entity(BUS))["speed"]["value"] == 31
    reply = await api.put(f"/entities/{BUS}", bus, Content_Type="application/merge-patch+json")
    assert reply.status == 415


# 6.3.5 @context resolution


async def test_json_takes_its_context_from_the_link(api: Any, bus: Any, link: dict[str, str]) -> None:
    await api.create(bus, **link)
    assert "speed" in await api.entity(BUS, **link)
    assert "https://example.org/speed" in await api.entity(BUS)


async def test_json_with_a_context_inside_is_refused(api: Any) -> None:
    assert (await api.post("/entities", MINIMAL | {"@context": CORE})).refuses(400, "BadRequestData")


async def test_json_ld_without_a_context_is_refused(api: Any) -> None:
    reply = await api.post("/entities", MINIMAL, Content_Type="application/ld+json")
    assert reply.refuses(400, "BadRequestData")


async def test_json_ld_with_a_link_is_refused(api: Any, link: dict[str, str]) -> None:
    body = MINIMAL | {"@context": CORE}
    reply = await api.post("/entities", body, Content_Type="application/ld+json", **link)
    assert reply.refuses(400, "BadRequestData")


@pytest.mark.parametrize(
    "header",
    [
        "not a link",
        "<https://a.example/x",
        '<https://a.example/x>; rel="http://www.w3.org/ns/json-ld#context" nonsense',
        '<https://a.example/x>; rel="http://www.w3.org/ns/json-ld#context", '
        '<https://a.example/y>; rel="http://www.w3.org/ns/json-ld#context"',
        "<" + "x" * 10_000 + ">",
    ],
)
async def test_a_broken_link_header_is_refused(api: Any, header: str) -> None:
    assert (await api.get("/entities?type=Vehicle", Link=header)).refuses(400, "BadRequestData")


async def test_links_of_other_relations_are_nobodys_business(api: Any) -> None:
    reply = await api.get(
        "/entities?type=Vehicle", Link='<https://a.example/>; rel="describedby", <b>; rel=next'
    )
    assert reply.status == 200


async def test_a_context_that_cannot_be_had_is_504(api: Any) -> None:
    header = '<http://127.0.0.1:9/none.jsonld>; rel="http://www.w3.org/ns/json-ld#context"'
    assert (await api.get("/entities?type=Vehicle", Link=header)).refuses(504, "LdContextNotAvailable")


# 6.3.6 responses


async def test_json_names_the_context_in_a_link(api: Any, bus: Any, link: dict[str, str]) -> None:
    await api.create(bus, **link)
    reply = await api.get(f"/entities/{BUS}", **link)
    assert reply.header("Link") == link["Link"]
    assert "@context" not in reply.json
    assert CORE in (await api.get(f"/entities/{BUS}")).header("Link")


async def test_json_ld_holds_only_the_context_of_the_user(api: Any, bus: Any, link: dict[str, str]) -> None:
    await api.create(bus, **link)
    reply = await api.get(f"/entities/{BUS}", Accept="application/ld+json", **link)
    assert reply.json["@context"] == "https://example.org/city.jsonld"
    assert reply.header("Link") is None
    assert (await api.entity(BUS, Accept="application/ld+json"))["@context"] == CORE


async def test_geojson_holds_the_context_unless_it_is_not_wanted(api: Any, bus: Any) -> None:
    await api.create(bus)
    reply = await api.get("/entities?type=Vehicle", Accept="application/geo+json")
    assert (reply.json["type"], reply.json["@context"], reply.header("Link")) == (
        "FeatureCollection",
        CORE,
        None,
    )
    reply = await api.get("/entities?type=Vehicle", Accept="application/geo+json", Prefer="body=json")
    assert "@context" not in reply.json
    assert CORE in reply.header("Link")


async def test_a_context_without_a_url_gets_one(api: Any, bus: Any) -> None:
    own = {"speed": "https://other.example/v"}
    query = {"type": "Query", "entities": [{"type": "Vehicle"}], "@context": own}
    reply = await api.post("/entityOperations/query", query, Content_Type="application/ld+json")
    url = reply.header("Link").partition(">")[0].removeprefix("<")
    assert "/jsonldContexts/" in url
    served = await api.get(url)
    assert served.json == {"@context": own}


async def test_a_204_has_no_link_and_no_body(api: Any, bus: Any) -> None:
    await api.create(bus)
    reply = await api.delete(f"/entities/{BUS}")
    assert (reply.status, reply.body, reply.header("Link")) == (204, b"", None)


@pytest.mark.parametrize("prefer", ["ngsi-ld=1.5", 'NGSI-LD="1.5"', "respond-async, ngsi-ld=1.5;q=0.1"])
async def test_an_earlier_version_is_honoured(api: Any, bus: Any, prefer: str) -> None:
    kind = {"type": "VocabProperty", "vocab": "bus"}
    await api.create(bus | {"kind": kind})
    reply = await api.get(f"/entities/{BUS}", Prefer=prefer)
    assert (reply.status, reply.header("Preference-Applied")) == (203, "ngsi-ld=1.5")
    assert reply.json["kind"] == {"type": "Property", "value": "bus"}
    assert reply.json["label"]["type"] == "LanguageProperty"


async def test_the_current_version_leaves_the_answer_alone(api: Any, bus: Any) -> None:
    await api.create(bus)
    for prefer, applied in (("ngsi-ld=1.9", "ngsi-ld=1.9"), ("ngsi-ld=3.0", "ngsi-ld=1.9"), ("x", None)):
        reply = await api.get(f"/entities/{BUS}", Prefer=prefer)
        assert (reply.status, reply.header("Preference-Applied")) == (200, applied)


# 6.3.7, 6.3.11 options


@pytest.mark.parametrize(
    "query", ["options=keyValues", "options=simplified", "format=simplified", "format=keyValues"]
)
async def test_simplified(api: Any, bus: Any, query: str) -> None:
    await api.create(bus)
    found = await api.entity(BUS, f"?{query}")
    assert (found["speed"], found["line"], found["inside"]) == (
        30,
        ["1", {"a": [5]}, None],
        "urn:ngsi-ld:Zone:1",
    )


async def test_format_takes_precedence_over_options(api: Any, bus: Any) -> None:
    await api.create(bus)
    found = await api.entity(BUS, "?format=normalized&options=keyValues,sysAttrs")
    assert found["speed"]["type"] == "Property"
    assert found["createdAt"].endswith("Z")
    assert "createdAt" in found["speed"]


@pytest.mark.parametrize("query", ["format=fancy", "options=fancy", "options=keyValues,fancy", "options="])
async def test_unknown_representations_are_refused(api: Any, bus: Any, query: str) -> None:
    await api.create(bus)
    assert (await api.get(f"/entities/{BUS}?{query}")).refuses(400, "InvalidRequest")


# 6.3.10, 6.3.13 pages and counts


async def fleet(api: Any, size: int) -> None:
    await api.create(*({"id": f"urn:ngsi-ld:Vehicle:{n:03}", "type": "Vehicle"} for n in range(size)))


async def test_pages_lead_forwards_and_backwards(api: Any) -> None:
    await fleet(api, 5)
    seen, path = [], "/ngsi-ld/v1/entities?type=Vehicle&limit=2"
    while path:
        reply = await api.get(path)
        seen += [each["id"][-3:] for each in reply.json]
        links = [part for part in (reply.header("Link") or "").split(", ") if 'rel="next"' in part]
        assert all(part.endswith('type="application/json"') for part in links)
        path = links[0].partition(">")[0].removeprefix("<") if links else ""
    assert seen == ["000", "001", "002", "003", "004"]
    last = await api.get("/entities?type=Vehicle&limit=2&offset=4")
    assert '</ngsi-ld/v1/entities?limit=2&offset=2&type=Vehicle>; rel="prev"' in last.header("Link")
    assert 'rel="next"' not in last.header("Link")


async def test_a_full_last_page_has_no_next(api: Any) -> None:
    await fleet(api, 4)
    for query in ("limit=2&offset=2", "limit=2&offset=2&count=true", "limit=4"):
        assert 'rel="next"' not in (await api.get(f"/entities?type=Vehicle&{query}")).header("Link")


async def test_the_count_is_of_all(api: Any) -> None:
    await fleet(api, 5)
    reply = await api.get("/entities?type=Vehicle&limit=2&count=true")
    assert (reply.header("NGSILD-Results-Count"), len(reply.json)) == ("5", 2)
    reply = await api.get("/entities?type=Vehicle&limit=0&count=true")
    assert (reply.header("NGSILD-Results-Count"), reply.json) == ("5", [])
    assert 'rel="next"' not in reply.header("Link")


async def test_no_limit_without_a_count_makes_no_sense(api: Any) -> None:
    reply = await api.get("/entities?type=Vehicle&limit=0")
    assert reply.refuses(400, "InvalidRequest")
    assert reply.json["detail"] == "limit may be 0 only with count=true"


# 6.3.14 tenants


async def test_tenants_are_worlds_apart(api: Any, bus: Any) -> None:
    assert (await api.get("/entities?type=Vehicle", NGSILD_Tenant="north")).refuses(404, "NonexistentTenant")
    await api.create(bus, NGSILD_Tenant="north")
    assert (await api.get(f"/entities/{BUS}", NGSILD_Tenant="north")).status == 200
    assert (await api.get(f"/entities/{BUS}")).refuses(404, "ResourceNotFound")
    assert (await api.delete(f"/entities/{BUS}", NGSILD_Tenant="south")).refuses(404, "NonexistentTenant")
    assert (await api.get(f"/entities/{BUS}", NGSILD_Tenant="north")).status == 200


@pytest.mark.parametrize("tenant", ["", "x" * 300, "a\tb"])
async def test_a_tenant_that_cannot_be_one_is_refused(api: Any, bus: Any, tenant: str) -> None:
    assert (await api.post("/entities", bus, NGSILD_Tenant=tenant)).refuses(400, "BadRequestData")
