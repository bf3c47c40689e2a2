"""A program written only against the public `ngsildclient` package: create, query, patch, delete.
Run by test_clients.py in an environment of its own; prints what it saw as JSON."""

import json
import sys

from ngsildclient import Client, Entity

host, port = sys.argv[1], int(sys.argv[2])
client = Client(hostname=host, port=port)
seen = {"connected": client.is_connected()}

for number, level in ((1, 30), (2, 80)):
    entity = Entity("AirQualityObserved", f"Client:{number}")
    entity.prop("pm25", level, unitcode="GQ", observedat="2026-11-22T08:00:00Z")
    entity.gprop("location", (43.83, 125.2 + number / 1000))
    entity.rel("refPointOfInterest", "PointOfInterest:gate")
    seen[f"created {number}"] = bool(client.create(entity))

found = client.query(type="AirQualityObserved", q="pm25>50")
seen["query"] = [entity.id for entity in found]
one = client.get("urn:ngsi-ld:AirQualityObserved:Client:1")
seen["get"] = [one.id, one["pm25.value"], one["location.value.coordinates"]]
one["pm25.value"] = 95
seen["updated"] = bool(client.update(one))
seen["query after update"] = sorted(
    entity.id for entity in client.query(type="AirQualityObserved", q="pm25>50")
)
seen["deleted"] = bool(client.delete(client.get("urn:ngsi-ld:AirQualityObserved:Client:2")))
seen["exists"] = [client.exists(f"urn:ngsi-ld:AirQualityObserved:Client:{number}") for number in (1, 2)]
print(json.dumps(seen))
