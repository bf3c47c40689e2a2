// The style sheet's colours as the map and the charts need them: resolved for the present light.

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

const names = [
  "ink", "soft", "line", "line-strong", "card", "paper", "accent", "good", "fair", "poor", "calm", "off",
  "green", "heat", "energy", "lamp", "water", "bus", "plug", "ground", "zone", "park", "river", "road", "road-edge",
];

export function tones() {
  return Object.fromEntries(
    names.map((name) => {
      probe.className = "";
      probe.hidden = false;
      // A class would need a rule per colour; setting one property through the object model is not
      // an inline style attribute and is allowed by the policy.
      probe.style.color = `var(--${name})`;
      const color = getComputedStyle(probe).color;
      probe.hidden = true;
      return [name, color];
    }),
  );
}

export const family = () => getComputedStyle(document.body).fontFamily;
