"""Operations of clauses 5.6 and 5.7 on the memory store."""

from __future__ import annotations

import asyncio

import pytest

from autocity.broker import Caller
from autocity.errors import BadRequestData, NonexistentTenant, ResourceNotFound
from autocity.ld import document
from autocity.ld.context import CORE
from autocity.ld.entity import parse_attribute
from autocity.ld.instants import SECOND, timestamp
from autocity.ld.query import Query, Selector, TypeIs, parse_q
from autocity.ld.temporal import Window
from towns import LAMP, Town, entity, fragment, now

POWER = CORE.expand("power")
LAMPS = TypeIs(CORE.expand("Lamp"))
POLES = TypeIs(CORE.expand("Pole"))


async def test_5_6_1_create_and_5_7_1_retrieve(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    found = await town.entity()
    assert found.attributes[POWER][0].value == 5
    assert found.created_at == found.modified_at > 0


async def test_5_7_1_unknown_entity_and_wrong_type(town: Town) -> None:
    with pytest.raises(ResourceNotFound):
        await town.entity()
    await town.broker.create_entity(town.me, entity(power=5))
    assert (await town.broker.retrieve_entity(town.me, LAMP, LAMPS)).id == LAMP
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_entity(town.me, LAMP, POLES)


async def test_5_6_2_update_needs_the_entity_and_its_type(town: Town) -> None:
    with pytest.raises(ResourceNotFound):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    await town.broker.create_entity(town.me, entity(power=5))
    with pytest.raises(ResourceNotFound):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=1), POLES)
    outcome = await town.broker.update_attributes(town.me, LAMP, fragment(power=1), LAMPS)
    assert outcome.updated == (POWER,)
    assert await town.values() == {"power": 1}


async def test_5_6_3_append_without_overwriting_reports_what_was_left(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    outcome = await town.broker.append_attributes(
        town.me, LAMP, fragment(power=1, colour="red"), overwrite=False
    )
    assert [each.attribute for each in outcome.not_updated] == [POWER]
    assert await town.values() == {"power": 5, "colour": "red"}


async def test_5_6_4_partial_update_5_6_19_replace_and_5_6_5_delete_attribute(town: Town) -> None:
    body = {"type": "Property", "value": 5, "unitCode": "WTT"}
    await town.broker.create_entity(town.me, entity(power=body))
    patch = parse_attribute({"value": 6}, CORE, "power", nulls=True, partial=True)
    await town.broker.update_attribute(town.me, LAMP, POWER, patch)
    assert (await town.entity()).attributes[POWER][0].unit_code == "WTT"
    whole = parse_attribute({"type": "Property", "value": 7}, CORE, "power")
    await town.broker.replace_attribute(town.me, LAMP, POWER, whole)
    (instance,) = (await town.entity()).attributes[POWER]
    assert (instance.value, instance.unit_code) == (7, None)
    await town.broker.delete_attribute(town.me, LAMP, POWER)
    assert (await town.entity()).attributes == {}
    with pytest.raises(ResourceNotFound):
        await town.broker.delete_attribute(town.me, LAMP, POWER)


async def test_5_6_18_replace_keeps_created_at(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    before = await town.entity()
    await town.broker.replace_entity(town.me, entity(colour="red"))
    after = await town.entity()
    assert after.created_at == before.created_at
    assert list(after.attributes) == [CORE.expand("colour")]


async def test_5_6_6_delete(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    await town.broker.delete_entity(town.me, LAMP)
    with pytest.raises(ResourceNotFound):
        await town.broker.delete_entity(town.me, LAMP)


async def test_5_6_8_replace_is_the_default_of_upsert(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    result = await town.broker.upsert_entities(town.me, [entity(colour="red")])
    assert (result.success, result.created) == ([LAMP], [])
    assert await town.values() == {"colour": "red"}


async def test_5_6_9_and_5_6_20_need_the_entities(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    missing = "urn:ngsi-ld:Lamp:none"
    result = await town.broker.update_entities(
        town.me, [fragment(LAMP, colour="red"), fragment(missing, colour="red")]
    )
    assert result.success == [LAMP]
    assert [id for id, _ in result.errors] == [missing]
    result = await town.broker.merge_entities(town.me, [fragment(missing, a=1), fragment(LAMP, power=6)])
    assert result.success == [LAMP]
    assert await town.values() == {"power": 6, "colour": "red"}


async def test_5_6_9_without_overwriting_what_is_left_is_an_error_and_the_rest_is_done(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    result = await town.broker.update_entities(
        town.me, [fragment(LAMP, power=6, colour="red")], overwrite=False
    )
    assert result.success == []
    assert [(id, POWER in fault.detail) for id, fault in result.errors] == [(LAMP, True)]
    assert await town.values() == {"power": 5, "colour": "red"}


async def test_5_6_10_a_second_deletion_in_a_batch_is_an_error(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    result = await town.broker.delete_entities(town.me, [LAMP, LAMP])
    assert result.success == [LAMP]
    assert [(id, type(fault)) for id, fault in result.errors] == [(LAMP, ResourceNotFound)]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"drop": (POWER,)}, {"colour": "red"}),
        ({"keep": (POWER,)}, {"power": 1}),
    ],
)
async def test_5_6_21_purge_of_attributes(
    town: Town, options: dict[str, tuple[str, ...]], left: object
) -> None:
    await town.broker.create_entity(town.me, entity(power=1, colour="red"))
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Pole:1", "Pole", power=1))
    lamps = Query(selectors=(Selector(types=LAMPS),))
    assert await town.broker.purge_entities(town.me, lamps, **options) == 1
    assert await town.values() == left
    assert await town.values("urn:ngsi-ld:Pole:1") == {"power": 1}


async def test_5_6_21_purge_of_entities_by_query_goes_past_one_page(town: Town) -> None:
    many = [entity(f"urn:ngsi-ld:Lamp:{n}", power=n % 2) for n in range(2100)]
    await town.broker.create_entities(town.me, many)
    lit = Query(q=parse_q("power==1", CORE.expand))
    assert await town.broker.purge_entities(town.me, lit) == 1050
    assert await town.store.count("") == 1050


async def test_5_7_2_query_and_5_7_5_types(town: Town) -> None:
    await town.broker.create_entities(town.me, [entity(power=1), entity("urn:ngsi-ld:Lamp:2", power=2)])
    page = await town.broker.query_entities(town.me, Query(q=parse_q("power>1", CORE.expand), count=True))
    assert [stored.id for stored in page.entities] == ["urn:ngsi-ld:Lamp:2"]
    assert page.total == 1
    (summary,) = await town.broker.types(town.me)
    assert (summary.type, summary.count) == (CORE.expand("Lamp"), 2)


async def test_5_5_10_a_tenant_comes_to_be_by_creation_and_is_apart(town: Town) -> None:
    other = Caller("other")
    for operation in (
        town.broker.query_entities(other, Query()),
        town.broker.retrieve_entity(other, LAMP),
        town.broker.types(other),
        town.broker.update_attributes(other, LAMP, fragment(a=1)),
        town.broker.delete_entities(other, [LAMP]),
        town.broker.delete_subscription(other, "urn:x:y"),
        town.broker.delete_temporal(other, LAMP),
    ):
        with pytest.raises(NonexistentTenant):
            await operation
    await town.broker.create_entity(other, entity(power=5))
    assert [each.id for each in (await town.broker.query_entities(other, Query())).entities] == [LAMP]
    with pytest.raises(ResourceNotFound):
        await town.entity()
    assert await town.broker.tenants() == ["", "other"]


async def test_a_batch_of_which_nothing_is_created_makes_no_tenant(town: Town) -> None:
    await town.broker.create_entities(Caller("empty"), [])
    with pytest.raises(NonexistentTenant):
        await town.broker.query_entities(Caller("empty"), Query())


async def test_4_22_what_has_expired_is_not_there_and_may_be_created_again(town: Town) -> None:
    soon = timestamp(now() + SECOND // 20)
    await town.broker.create_entity(town.me, entity(power=1, expiresAt=soon))
    assert await town.values() == {"power": 1}
    await asyncio.sleep(0.06)
    with pytest.raises(ResourceNotFound):
        await town.entity()
    with pytest.raises(ResourceNotFound):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=2))
    await town.broker.create_entity(town.me, entity(power=3))
    assert await town.values() == {"power": 3}
    assert [line.operation for line in await town.store.log(0)] == ["create", "delete", "create"]


async def test_4_22_an_attribute_that_has_expired_is_not_shown(town: Town) -> None:
    soon = timestamp(now() + SECOND // 20)
    brief = {"type": "Property", "value": 1, "expiresAt": soon}
    await town.broker.create_entity(town.me, entity(brief=brief, power=2))
    await asyncio.sleep(0.06)
    assert await town.values() == {"power": 2}
    (stored,) = (await town.broker.query_entities(town.me, Query())).entities
    assert list(document.load(stored.document).attributes) == [POWER]


async def test_4_22_the_sweep_deletes_and_tells(town: Town) -> None:
    soon = timestamp(now() + SECOND // 20)
    await town.broker.create_entity(town.me, entity(power=1, expiresAt=soon))
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Lamp:2", power=1))
    await asyncio.sleep(0.06)
    assert await town.broker.sweep() == 1
    assert await town.store.count("") == 1
    assert (await town.store.log(0))[-1].operation == "delete"


async def test_4_5_23_linked_entities_are_followed_once(town: Town) -> None:
    def pointing(n: int, *targets: int) -> object:
        ids = [f"urn:ngsi-ld:Lamp:{target}" for target in targets]
        return entity(f"urn:ngsi-ld:Lamp:{n}", next={"type": "Relationship", "object": ids})

    await town.broker.create_entities(town.me, [pointing(1, 2, 9), pointing(2, 3), pointing(3, 1)])
    start = [await town.entity("urn:ngsi-ld:Lamp:1")]
    assert sorted(await town.broker.linked_entities(town.me, start, 1)) == ["urn:ngsi-ld:Lamp:2"]
    assert len(await town.broker.linked_entities(town.me, start, 9)) == 3


async def test_5_7_3_what_was_recorded(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=1))
    await town.broker.update_attributes(town.me, LAMP, fragment(power=2))
    await town.broker.delete_entity(town.me, LAMP)
    window = Window(property="modifiedAt")
    history = await town.broker.retrieve_temporal(town.me, LAMP, window)
    assert [each.value for each in history.attributes[POWER] if not each.deleted_at] == [1, 2]
    past = Window("before", at=1, property="modifiedAt")
    assert (await town.broker.retrieve_temporal(town.me, LAMP, past)).attributes == {}
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_temporal(town.me, "urn:ngsi-ld:Lamp:none", window)


async def test_5_7_4_filters_look_at_instances_within_the_window(town: Town) -> None:
    for n, power in ((1, 5), (2, 50)):
        id = f"urn:ngsi-ld:Lamp:{n}"
        await town.broker.create_entity(town.me, entity(id, power=power))
        await town.broker.update_attributes(town.me, id, fragment(power=1))
    bright = Query(q=parse_q("power>10", CORE.expand), count=True)
    found, total = await town.broker.query_temporal(town.me, bright, Window(property="modifiedAt"))
    assert ([each.id for each in found], total) == (["urn:ngsi-ld:Lamp:2"], 1)
    every = Query(limit=1, offset=1)
    found, total = await town.broker.query_temporal(town.me, every, Window(property="modifiedAt"))
    assert ([each.id for each in found], total) == (["urn:ngsi-ld:Lamp:2"], None)


async def test_5_7_4_the_mark_of_a_deletion_satisfies_no_filter(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    start = now()
    await town.broker.delete_attribute(town.me, LAMP, POWER)
    window = Window("after", at=start, property="modifiedAt")
    present = Query(q=parse_q("power", CORE.expand))
    assert len((await town.broker.query_temporal(town.me, Query(), window))[0]) == 1
    assert (await town.broker.query_temporal(town.me, present, window))[0] == []


async def test_5_6_11_to_5_6_16_provision_of_history(town: Town) -> None:
    def observed(value: float, hour: int, **members: object) -> dict[str, object]:
        at = f"2026-01-01T{hour:02}:00:00Z"
        return {"type": "Property", "value": value, "observedAt": at, **members}

    first = entity(power=observed(1, 1))
    kind = CORE.expand("Lamp")
    assert await town.broker.upsert_temporal(town.me, LAMP, (kind,), (), first.attributes)
    assert not await town.broker.upsert_temporal(
        town.me, LAMP, (kind,), (), entity(power=observed(2, 2)).attributes
    )
    await town.broker.append_temporal(
        town.me, LAMP, entity(power=observed(3, 3, datasetId="urn:ngsi-ld:Dataset:b")).attributes
    )
    history = await town.broker.retrieve_temporal(town.me, LAMP, Window())
    one, two, other = sorted(history.attributes[POWER], key=lambda each: each.value)
    patch = parse_attribute({"value": 20}, CORE, "power", nulls=True, partial=True)
    assert two.instance_id is not None
    await town.broker.update_temporal_instance(town.me, LAMP, POWER, two.instance_id, patch)
    history = await town.broker.retrieve_temporal(town.me, LAMP, Window())
    changed = next(each for each in history.attributes[POWER] if each.instance_id == two.instance_id)
    assert (changed.value, changed.observed_at) == (20, two.observed_at)
    assert one.instance_id is not None
    await town.broker.delete_temporal_instance(town.me, LAMP, POWER, one.instance_id)
    with pytest.raises(ResourceNotFound):
        await town.broker.delete_temporal_instance(town.me, LAMP, POWER, one.instance_id)
    await town.broker.delete_temporal_attribute(town.me, LAMP, POWER)
    history = await town.broker.retrieve_temporal(town.me, LAMP, Window())
    assert [each.dataset_id for each in history.attributes[POWER]] == [other.dataset_id]
    await town.broker.delete_temporal(town.me, LAMP)
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_temporal(town.me, LAMP, Window())
    with pytest.raises(ResourceNotFound):
        await town.entity()


async def test_5_6_14_the_kind_of_an_instance_stays(town: Town) -> None:
    attributes = entity(
        power={"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z"}
    ).attributes
    await town.broker.upsert_temporal(town.me, LAMP, (CORE.expand("Lamp"),), (), attributes)
    history = await town.broker.retrieve_temporal(town.me, LAMP, Window())
    id = history.attributes[POWER][0].instance_id
    assert id is not None
    patch = parse_attribute({"type": "Relationship", "object": LAMP}, CORE, "power", nulls=True, partial=True)
    with pytest.raises(BadRequestData):
        await town.broker.update_temporal_instance(town.me, LAMP, POWER, id, patch)
    with pytest.raises(ResourceNotFound):
        await town.broker.append_temporal(town.me, "urn:ngsi-ld:Lamp:none", attributes)
