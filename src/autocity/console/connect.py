"""How programs connect: requests to copy, a subscription to try, and the contexts that are served."""

from __future__ import annotations

import msgspec

from autocity import models
from autocity.api.asgi import Answer, Call
from autocity.console import page
from autocity.console.client import City, link
from autocity.console.page import Reader, speech
from autocity.models import CITY_CONTEXT


async def connect(city: City, who: Reader, call: Call) -> Answer:
    """Requests with this server's own address in them, ready to copy."""
    root = f"http://{call.header('host') or '127.0.0.1:8026'}"
    return page.render(who, "connect.html", root=root, examples=examples(root, who), contexts=sorted(models.contexts()))


def examples(root: str, who: Reader) -> dict[str, str]:
    """Requests that work as they stand on the demo city, by name."""
    entities = f"{root}/ngsi-ld/v1/entities"
    header = f"Link: {link(CITY_CONTEXT)}"
    lamp = '{"id": "urn:ngsi-ld:Streetlight:mine", "type": "Streetlight",\n       "powerState": "on", "location": {"type": "Point", "coordinates": [125.2, 43.83]}}'
    say = speech(who)
    subscription = {
        "type": "Subscription",
        "description": say("slow roads"),
        "entities": [{"type": "TrafficFlowObserved"}],
        "watchedAttributes": ["averageVehicleSpeed"],
        "q": "averageVehicleSpeed<20",
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9000/notify", "accept": "application/json"}},
        "@context": CITY_CONTEXT,
    }
    body = msgspec.json.format(msgspec.json.encode(subscription), indent=2).decode()
    return {
        "read": f"curl -G '{entities}' \\\n  -H '{header}' \\\n  --data-urlencode 'type=TrafficFlowObserved' \\\n"
        "  --data-urlencode 'q=averageVehicleSpeed<30' \\\n  --data-urlencode 'options=keyValues' \\\n"
        "  --data-urlencode 'limit=5'",
        "write": f"curl -X POST '{entities}' \\\n  -H '{header}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{lamp}'",
        "python": f'''import json, urllib.parse, urllib.request

query = urllib.parse.urlencode({{"type": "AirQualityObserved", "options": "keyValues", "limit": 5}})
request = urllib.request.Request(
    f"{entities}?{{query}}",
    headers={{
        "Accept": "application/json",
        "Link": '{link(CITY_CONTEXT)}',
        # "Authorization": "Bearer act_…",
    }},
)
for entity in json.load(urllib.request.urlopen(request)):
    print(entity["id"], entity.get("airQualityIndex"))''',
        "geojson": f"curl '{entities}?type=EVChargingStation&options=keyValues&limit=100' \\\n  -H '{header}' \\\n"
        "  -H 'Accept: application/geo+json' > stations.geojson",
        "history": f"curl -G '{root}/ngsi-ld/v1/temporal/entities' \\\n  -H '{header}' \\\n"
        "  --data-urlencode 'type=WeatherObserved' \\\n  --data-urlencode 'attrs=temperature' \\\n"
        "  --data-urlencode 'options=temporalValues' \\\n  --data-urlencode 'lastN=24'",
        "events": f"curl -N '{root}/events?type=Vehicle'",
        "subscribe": f"curl -X POST '{root}/ngsi-ld/v1/subscriptions' \\\n  -H 'Content-Type: application/ld+json' \\\n  -d '{body}'",
    }
