// The front of one run or several: click a mark, or walk over them with the arrow keys, and see its bits, figures, costs and commands.
const BIT_SCALE = 8;

class Explorer {
  constructor(host, data) {
    Object.assign(this, { host, data, cost: 0, close: data.hidden > 0, pinned: null, differing: false });
    this.points = new Map(data.points.map((point) => [point.id, point]));
    this.selected = data.first;
    this.build();
    this.chart = new Chart(this.place, this.spec(), (id) => this.select(id));
    this.show();
  }

  build() {
    const { data, host } = this, bar = make("div", { class: "bar" }, host);
    if (data.costs.length > 1) {
      const field = make("label", {}, bar, "Against ");
      const choice = make("select", { id: "explorer-cost" }, field);
      data.costs.forEach((cost, place) => make("option", { value: place }, choice, cost.title));
      choice.addEventListener("change", () => {
        this.cost = Number(choice.value);
        this.redraw();
      });
    }
    if (data.hidden) {
      const group = make("div", { class: "segments", role: "group", "aria-label": "Trials shown" }, bar);
      const buttons = [["Close-up", true], [`All trials (${data.hidden} more)`, false]].map(([text, close]) => {
        const button = make("button", { type: "button", "aria-pressed": String(this.close === close) }, group, text);
        button.addEventListener("click", () => {
          this.close = close;
          buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
          this.redraw();
        });
        return button;
      });
    }
    make("p", { class: "hint" }, bar, "Click a mark. Keys: ← → all marks, ↑ ↓ along the front, P pins, Esc unpins.");
    this.place = make("div", {}, host);
    legend(host, this.entries());
    this.status = make("p", { class: "unseen", role: "status", "aria-live": "polite" }, host);
    this.details = make("div", { class: "details" }, host);
    this.place.addEventListener("keydown", (event) => this.key(event));
  }

  entries() {
    const { data } = this;
    const runs = data.runs.length > 1 ? data.runs.map((run) => ({ name: run.name, shape: "circle", role: run.role })) : [];
    const plain = runs.length ? "neutral" : null;
    return [
      ...runs,
      ...data.kinds.map((kind) => ({ ...kind, role: plain || kind.role })),
      ...(data.costs.some((cost) => cost.fronts.some((front) => front.length)) ? [{ name: "front", kind: "step", role: plain || "front" }] : []),
      ...(data.costs.some((cost) => cost.knees.some(Boolean)) ? [{ name: "knee of a front", shape: "ring", role: "neutral" }] : []),
      ...(runs.length ? [{ name: "float network, budget", kind: "line", dash: "dash", role: "neutral" }] : []),
      ...(data.points.some((point) => !point.fits) ? [{ name: "pale: over a budget", shape: "circle", role: "neutral pale" }] : []),
    ];
  }

  spec() {
    const { data } = this, cost = data.costs[this.cost], [low, high] = this.close ? data.view : data.all;
    const lines = [], series = [];
    // What all runs have in common is said once; else each line has the colour of its run, and the table says the amounts.
    const rule = (axis, own, plain, word) => {
      const found = data.runs.map((run) => ({ ...own(run), role: run.role })).filter((each) => each.at !== undefined);
      if (new Set(found.map((each) => each.at)).size === 1) lines.push({ axis, at: found[0].at, text: `${word} ${found[0].text}`, role: plain });
      else for (const each of found) lines.push({ axis, at: each.at, text: "", role: each.role });
    };
    rule("y", (run) => ({ at: run.float.value, text: run.float.text }), "float", "float");
    rule("x", (run) => ({ at: (run.budgets[cost.name] || {}).limit, text: (run.budgets[cost.name] || {}).text }), "budget", "budget");
    data.runs.forEach((run, place) => {
      const role = data.runs.length === 1 ? null : run.role;
      const front = cost.fronts[place].map((id) => this.points.get(id));
      series.push({ kind: "step", role: role || "front", name: "front", points: front.map((point) => ({ x: point.costs[cost.name].value, y: point.metric })) });
    });
    for (const kind of data.kinds) {
      for (const [place, run] of data.runs.entries()) {
        const own = data.points.filter((point) => point.kind === kind.key && point.run === place);
        series.push({
          kind: "marks", shape: kind.shape, size: kind.size, role: data.runs.length === 1 ? kind.role : run.role, name: kind.name,
          points: own.map((point) => ({
            x: point.costs[cost.name].value, y: point.metric, id: point.id,
            css: (point.fits ? "" : "pale ") + (cost.fronts[place].includes(point.id) ? "edge" : ""),
            tip: [`${point.name}${data.runs.length > 1 ? ` · ${run.name}` : ""}`, `${data.metric} ${point.shown} · ${point.basis}`, `${cost.title} ${point.costs[cost.name].text}`, ...(point.fits ? [] : ["over the budget"])],
          })),
        });
      }
    }
    const y = { title: `validation ${data.metric}`, low, high, kind: data.fraction ? "percent" : "number" };
    return { height: window.innerWidth < 640 ? 360 : 470, label: data.finding, lines, series, x: { ...cost.axis }, y };
  }

  redraw() {
    this.chart.set(this.spec());
    this.show(false);
  }

  key(event) {
    const order = [...this.chart.places.values()].sort((a, b) => a.left - b.left || b.top - a.top).map((place) => place.id);
    const run = this.points.get(this.selected).run, front = this.data.costs[this.cost].fronts[run].filter((id) => order.includes(id));
    const step = (list, by) => {
      const place = list.indexOf(this.selected);
      if (place >= 0) return list[Math.min(list.length - 1, Math.max(0, place + by))];
      const here = order.indexOf(this.selected), after = list.findIndex((id) => order.indexOf(id) > here);
      return by > 0 ? list[after < 0 ? list.length - 1 : after] : list[(after < 0 ? list.length : after) - 1] || list[0];
    };
    const target = event.target.dataset && event.target.dataset.id;
    const moves = {
      ArrowRight: () => step(order, 1), ArrowLeft: () => step(order, -1), ArrowUp: () => step(front, 1), ArrowDown: () => step(front, -1),
      Home: () => order[0], End: () => order[order.length - 1], Enter: () => target, " ": () => target,
    };
    if (event.key in moves && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const id = moves[event.key]();
      if (id) this.select(id, true);
    } else if (event.key === "p" || event.key === "P") this.pin(this.selected);
    else if (event.key === "Escape" && this.pinned) this.pin(null);
    else return;
    event.preventDefault();
  }

  select(id, focus = false) {
    if (!this.points.has(id)) return;
    this.selected = id;
    this.show();
    if (focus) this.chart.focus(id);
  }

  pin(id) {
    this.pinned = id === this.pinned ? null : id;
    this.show();
    if (!this.host.contains(document.activeElement)) this.chart.focus(this.selected);
  }

  show(tell = true) {
    const { data } = this, cost = data.costs[this.cost];
    const rings = cost.knees.filter(Boolean).map((id) => ({ id, css: "knee", text: data.runs.length === 1 ? "knee" : null }));
    if (this.pinned) rings.push({ id: this.pinned, css: "pinned" });
    this.chart.ring([...rings, { id: this.selected, css: "selected" }]);
    this.chart.reachable(this.selected);
    const chosen = this.points.get(this.selected), other = this.pinned && this.pinned !== this.selected ? this.points.get(this.pinned) : null;
    if (tell) this.status.textContent = `${chosen.name}: ${data.metric} ${chosen.shown}, ${cost.title} ${chosen.costs[cost.name].text}${other ? `; compared with ${other.name}` : ""}`;
    this.details.classList.toggle("two", Boolean(other));
    this.details.replaceChildren(...(other ? [card(this, other, null), card(this, chosen, other)] : [card(this, chosen, null)]), layers(this, chosen, other));
    document.querySelectorAll("[data-select]").forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.select === this.selected)));
  }
}

function card(explorer, point, other) {
  const { data } = explorer, pinned = explorer.pinned === point.id, run = data.runs[point.run], kind = data.kinds.find((each) => each.key === point.kind);
  const node = make("article", { class: `card ${pinned ? "is-pinned" : "is-selected"}`, "data-point": point.id });
  const head = make("div", { class: "head" }, node);
  const title = make("h3", {}, head);
  symbol(kind.shape, data.runs.length > 1 ? run.role : kind.role, title);
  title.append(point.name);
  const button = make("button", { type: "button", class: "pin", "aria-pressed": String(pinned) }, head, pinned ? "Unpin" : "Pin to compare");
  button.addEventListener("click", () => {
    explorer.pin(point.id);
    const again = explorer.details.querySelector(`[data-point="${CSS.escape(point.id)}"] .pin`);
    if (again) again.focus({ preventScroll: true });
  });
  const cost = data.costs[explorer.cost];
  const tags = [...(cost.fronts[point.run].includes(point.id) ? ["on the front"] : []), ...(cost.knees[point.run] === point.id ? ["knee"] : []), ...(point.fits ? [] : ["over a budget"])];
  make("p", { class: "sub" }, node, [...(data.runs.length > 1 ? [run.name] : []), point.origin, ...tags].filter(Boolean).join(" · "));
  const figures = rows(node, `${data.metric[0].toUpperCase()}${data.metric.slice(1)}`, other ? ["figure", "value", "against pinned"] : ["figure", "value"]);
  for (const figure of point.figures) {
    const same = other && other.figures.find((each) => each.name === figure.name);
    row(figures, figure.name, figure.kind, [["num", figure.text], ...(other ? [["num delta", same ? signed(figure.value - same.value, data) : "–"]] : [])]);
  }
  const costs = rows(node, "Cost", other ? ["cost", "amount", "against pinned"] : ["cost", "amount"]);
  for (const [name, amount] of Object.entries(point.costs)) {
    const same = other && other.costs[name];
    row(costs, amount.title, null, [["num", amount.text], ...(other ? [["num delta", same ? ratio(amount.value, same.value) : "–"]] : [])]);
  }
  if (point.commands.length) make("h4", {}, node, "Take it");
  for (const command of point.commands) {
    const line = make("div", { class: "take" }, node);
    make("span", { class: "why" }, line, command.purpose);
    make("code", {}, line, command.text);
    const copy = make("button", { type: "button", class: "copy", "aria-label": `Copy the command: ${command.purpose}` }, line, "Copy");
    copy.addEventListener("click", () => copied(copy, command.text));
  }
  return node;
}

function rows(parent, caption, columns) {
  const table = make("table", { class: "facts" }, parent);
  make("caption", {}, table, caption);
  const head = make("tr", {}, make("thead", {}, table));
  for (const column of columns) make("span", { class: column === "against pinned" ? "" : "unseen" }, make("th", { scope: "col", class: column === columns[0] ? "" : "num" }, head), column);
  return make("tbody", {}, table);
}

function row(body, name, kind, cells) {
  const line = make("tr", {}, body), title = make("th", { scope: "row" }, line, name);
  if (kind) make("small", {}, title, kind);
  for (const [css, text] of cells) make("td", { class: css }, line, text);
}

function signed(value, data) {
  const text = data.fraction ? `${(100 * value).toFixed(2)} points` : value.toPrecision(3);
  return (value > 0 ? "+" : "") + text.replace("-", "−");
}

function ratio(value, base) {
  if (value === base) return "same";
  if (!base) return "–";
  const share = 100 * (value / base - 1);
  return `${share > 0 ? "+" : "−"}${Math.abs(share).toFixed(1)} %`;
}

function copied(button, text) {
  const done = () => {
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1600);
  };
  const byHand = () => {
    const area = make("textarea", { class: "unseen", readonly: "" }, document.body);
    area.value = text;
    area.select();
    if (document.execCommand("copy")) done();
    else button.textContent = "Select it by hand";
    area.remove();
    button.focus({ preventScroll: true });
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand);
  else byHand();
}

// Bits per layer --------------------------------------------------------------------------------------------------------------
function choices(explorer, point) {
  const run = explorer.data.runs[point.run];
  return new Map(run.layers.map((layer, place) => [layer.name, { layer, choice: run.choices[point.bits.charCodeAt(place) - explorer.data.base] }]));
}

function layers(explorer, point, other) {
  const node = make("section", { class: "bits", "aria-label": "Bits per layer" }), own = choices(explorer, point), base = other ? choices(explorer, other) : null;
  const names = base ? [...new Set([...base.keys(), ...own.keys()])] : [...own.keys()];
  const differs = (name) => base && (base.get(name) || { choice: {} }).choice.text !== (own.get(name) || { choice: {} }).choice.text;
  const different = names.filter(differs).length, head = make("div", { class: "head" }, node);
  make("h3", {}, head, base ? "Bits per layer, side by side" : "Bits per layer");
  if (base) {
    const field = make("label", {}, head), box = make("input", { type: "checkbox" }, field);
    box.checked = explorer.differing;
    field.append(` only the ${different} of ${names.length} that differ`);
    box.addEventListener("change", () => {
      explorer.differing = box.checked;
      explorer.show(false);
      explorer.details.querySelector(".bits input").focus({ preventScroll: true });
    });
  }
  const frame = make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Bits of every layer" }, node), table = make("table", {}, frame);
  const columns = make("tr", {}, make("thead", {}, table));
  for (const [css, text] of [["", "layer"], ["num", "weights"], ...(base ? [["", `${other.name} (pinned)`]] : []), ["", base ? point.name : "bits"]]) make("th", { scope: "col", class: css }, columns, text);
  const body = make("tbody", {}, table);
  for (const name of names) {
    if (base && explorer.differing && !differs(name)) continue;
    const line = make("tr", { class: differs(name) ? "differs" : "" }, body), known = own.get(name) || base.get(name);
    const cell = make("th", { scope: "row", title: known.layer.shape }, line, name);
    if (differs(name)) make("span", { class: "badge" }, cell, "differs");
    make("td", { class: "num" }, line, known.layer.weights);
    if (base) bars(line, base.get(name), "is-pinned");
    bars(line, own.get(name), "is-selected");
  }
  if (!body.children.length) make("td", { colspan: "4" }, make("tr", {}, body), "Both have the same bits in every layer.");
  return node;
}

function bars(line, found, css) {
  const cell = make("td", { class: `bars ${css}`, title: found ? found.choice.words : "" }, line);
  if (!found) return void (cell.textContent = "no such layer");
  const bar = (text, bits, kind, words) => {
    const part = make("span", { class: `part ${kind}` }, cell), track = make("span", { class: "track" }, part);
    make("span", { class: `fill ${bits > BIT_SCALE ? "float" : ""}` }, track).style.width = `${(100 * Math.min(bits, BIT_SCALE)) / BIT_SCALE}%`;
    make("span", { class: "value" }, part, words + text);
  };
  const { choice } = found;
  bar(choice.weight, choice.bits, "weight", "");
  if (choice.quantized) bar(choice.input, choice.inputBits, "input", "in ");
}
