// What every page has: the light switch, copy buttons, and ages that keep telling the truth.

const root = document.documentElement;
const language = root.lang;

function resolvedTheme() {
  const chosen = root.dataset.theme;
  if (chosen !== "auto") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function switchTheme(event) {
  event.preventDefault();
  const theme = resolvedTheme() === "dark" ? "light" : "dark";
  root.dataset.theme = theme;
  document.querySelector('meta[name="color-scheme"]').content = theme;
  // The server sets the cookie, with the attributes that the operator chose.
  fetch(`/preferences?theme=${theme}`, { redirect: "manual" });
  document.dispatchEvent(new CustomEvent("city:theme"));
}

async function copy(button) {
  const code = button.closest(".code").querySelector("pre");
  const label = button.querySelector("span");
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(code.textContent);
    label.textContent = "✓";
  } catch {
    getSelection().selectAllChildren(code);
  }
  setTimeout(() => (label.textContent = before), 1600);
}

const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const SPANS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export function age(instant, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(instant)) / 1000);
  const [name, length] = SPANS.find(([, span]) => seconds >= span) ?? SPANS.at(-1);
  return relative.format(-Math.floor(seconds / length), name);
}

function tick() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = age(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

document.getElementById("theme")?.addEventListener("click", switchTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new CustomEvent("city:theme"));
});
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button);
});
setInterval(tick, 1000);
tick();
