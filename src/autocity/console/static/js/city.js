// The city as the API tells it: reading entities, hearing of changes, and writing values for people.

export const language = document.documentElement.lang;

/** The JSON that the page carries under this id. */
export const embedded = (id) => JSON.parse(document.getElementById(id).textContent);

const linkHeader = (context) =>
  `<${context}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"`;

async function ask(path, accept, context) {
  const headers = { Accept: accept };
  if (context) headers.Link = linkHeader(context);
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Error(`${answer.status} ${path}`);
  return answer.json();
}

/** The content of a normalized attribute (of the first, when there are several instances). */
function content(attribute) {
  const one = Array.isArray(attribute) ? attribute[0] : attribute;
  if (one === null || typeof one !== "object" || typeof one.type !== "string") return one;
  const member = ["value", "object", "languageMap", "vocab", "json", "valueList", "objectList"].find((name) => name in one);
  return member ? one[member] : one;
}

/**
 * Entities of one type as GeoJSON features with simplified properties, within the `frame` of a geo-query.
 * An entity counts as synthetic when it says so itself, or its location does.
 */
export async function features(type, context, frame = {}) {
  const query = new URLSearchParams({ type, limit: "1000", ...frame });
  const found = await ask(`/ngsi-ld/v1/entities?${query}`, "application/geo+json", context);
  return found.features
    .filter((feature) => feature.geometry)
    .map((feature) => {
      const { location, ...rest } = feature.properties;
      const properties = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, content(value)]));
      properties.synthetic = properties.synthetic === true || content(location?.synthetic) === true;
      return { ...feature, properties };
    });
}

/** Where an entity is now: a GeoJSON geometry. */
export async function place(id) {
  const path = `/ngsi-ld/v1/entities/${encodeURIComponent(id)}?pick=location`;
  return content((await ask(path, "application/json")).location);
}

/**
 * Listens to the changes of the city: `change` hears each one, `resync` that some were missed for good,
 * `state` "on" or "lost". The browser reconnects by itself and the server replays what it still has.
 */
export function listen({ change, resync, state }, query = "") {
  const source = new EventSource(`/events${query}`);
  source.onopen = () => state("on");
  source.onerror = () => state("lost");
  source.addEventListener("change", ({ data }) => change(JSON.parse(data)));
  source.addEventListener("resync", resync);
  addEventListener("pagehide", () => source.close());
}

const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });

export function number(value) {
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return whole.format(value);
  return (Math.abs(value) >= 1 ? fine : small).format(value);
}

/** A simplified value in the reader's language. */
export function phrase(value, words = {}) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return number(value);
  if (typeof value === "boolean") return value ? (words.yes ?? "yes") : (words.no ?? "no");
  if (Array.isArray(value)) return value.map((item) => phrase(item, words)).join(", ");
  if (typeof value === "object") {
    const map = value.languageMap ?? value;
    const wanted = language.startsWith("zh") ? ["zh-Hans", "zh", "zh-CN", "en"] : ["en", "zh"];
    const tag = wanted.find((name) => name in map);
    if (tag) return phrase(map[tag], words);
    if ("@value" in map) return phrase(map["@value"], words);
    if ("vocab" in map) return phrase(map.vocab, words);
    return JSON.stringify(map);
  }
  return words.states?.[value] ?? String(value);
}

/** What an entity is called: its name, else the telling end of its id. */
export const title = (properties, id) =>
  phrase(properties.name ?? properties.title ?? "") || id.split(":").slice(-1)[0] || id;
