// Starts the page: the theme, the explorer, the plain charts, and buttons elsewhere that select a point.
const DATA = JSON.parse(document.getElementById("data").textContent);
const theme = document.getElementById("theme"), wide = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : wide.matches;
}

function name() {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
}

theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  name();
});
wide.addEventListener("change", name);
name();

for (const [id, panels] of Object.entries(DATA.charts)) {
  const host = document.getElementById(id), row = make("div", { class: "panels" }, host);
  for (const spec of panels) {
    const panel = make("div", {}, row);
    if (spec.heading) make("h3", {}, panel, spec.heading);
    new Chart(make("div", {}, panel), spec);
  }
  legend(host, panels.flatMap((spec) => spec.series));
}
if (DATA.explorer) {
  const explorer = new Explorer(document.getElementById("explorer"), DATA.explorer);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-select]");
    if (!button) return;
    explorer.select(button.dataset.select);
    document.getElementById("explorer").scrollIntoView({ behavior: "instant", block: "start" });
  });
}
window.addEventListener("beforeprint", () => window.dispatchEvent(new Event("resize")));
document.documentElement.dataset.ready = "yes";
