// The style sheet's colours as the map and the charts need them: resolved for the present light.

const NAMES = [
  "ink", "soft", "line", "line-strong", "card", "paper", "accent", "good", "fair", "poor", "calm", "off",
  "green", "heat", "energy", "lamp", "water", "bus", "plug", "ground", "zone", "park", "river", "road", "road-edge",
];

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/** Colour name to `rgb(…)`. A custom property alone would come back as it is written, for both lights. */
export function tones() {
  const resolved = NAMES.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  return Object.fromEntries(resolved);
}

export const family = () => getComputedStyle(document.body).fontFamily;
