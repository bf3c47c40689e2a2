// The account page: making and revoking tokens, changing the password. Every write brings the CSRF token back.

const csrf = document.getElementById("account").dataset.csrf;
const refused = document.getElementById("refused");

async function send(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf, Accept: "application/json" },
    body: body && JSON.stringify(body),
  });
  const told = answer.status === 204 ? null : await answer.json();
  refused.hidden = answer.ok;
  if (!answer.ok) refused.textContent = told?.detail ?? String(answer.status);
  return answer.ok ? (told ?? {}) : null;
}

document.getElementById("new-token")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, scopes } = Object.fromEntries(new FormData(event.target));
  const made = await send("POST", "/auth/tokens", { name, scopes: scopes ? scopes.split(" ") : [] });
  if (!made) return;
  const issued = document.getElementById("issued");
  issued.hidden = false;
  issued.querySelector("code").textContent = made.token;
  event.target.reset();
});

document.getElementById("new-password")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const changed = await send("POST", "/auth/password", Object.fromEntries(new FormData(event.target)));
  document.getElementById("changed").hidden = !changed;
  if (changed) event.target.reset();
});

document.querySelectorAll("[data-revoke]").forEach((button) =>
  button.addEventListener("click", async () => {
    if (await send("DELETE", `/auth/tokens/${button.dataset.revoke}`)) button.closest("tr").remove();
  }),
);
