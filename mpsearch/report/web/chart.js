// Charts as SVG, drawn at the width of their place and again whenever it changes. Colours are CSS variables, so a theme needs no redrawing.
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  circle: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  square: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  triangle: (r) => `M0,${-1.15 * r}L${1.1 * r},${0.85 * r}H${-1.1 * r}Z`,
  diamond: (r) => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0Z`,
  cross: (r) => `M${-r},${-r}L${r},${r}M${r},${-r}L${-r},${r}`,
  star: (r) => "M" + Array.from({ length: 10 }, (_, k) => {
    const radius = k % 2 ? 0.62 * r : 1.45 * r, angle = (Math.PI * k) / 5;
    return `${(radius * Math.sin(angle)).toFixed(2)},${(-radius * Math.cos(angle)).toFixed(2)}`;
  }).join("L") + "Z",
};

function make(tag, attributes = {}, parent = null, text = null) {
  const node = document.createElement(tag);
  return filled(node, attributes, parent, text);
}

function draw(tag, attributes = {}, parent = null, text = null) {
  const node = document.createElementNS(SVG, tag);
  return filled(node, attributes, parent, text);
}

function filled(node, attributes, parent, text) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function symbol(shape, role, parent) {
  const picture = draw("svg", { class: `key ${role}`, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, parent);
  if (shape === "ring") draw("circle", { r: 7, class: "ring knee" }, picture);
  else if (SHAPES[shape]) draw("path", { d: SHAPES[shape](5.5), class: `mark shape-${shape}` }, picture);
  else draw("path", { d: "M-8,0H8", class: `line ${shape}` }, picture);
  return picture;
}

// Numbers on axes -------------------------------------------------------------------------------------------------------------
const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "K"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
const trimmed = (value, digits) => String(Number(value.toFixed(digits))).replace("-", "−");

function label(axis, value, step) {
  const digits = (unit) => Math.min(6, Math.max(0, -Math.floor(Math.log10(step / unit) + 1e-9)));
  if (axis.kind === "percent") return `${trimmed(100 * value, digits(0.01))} %`;
  if (axis.kind !== "si" || value === 0) return trimmed(value, digits(1));
  const [factor, prefix] = PREFIXES.find(([size]) => Math.abs(value) >= size * 0.9999) || PREFIXES[PREFIXES.length - 1];
  return `${trimmed(value / factor, digits(factor))} ${prefix}${axis.unit}`.trim();
}

function ticks(axis, low, high, count) {
  if (axis.names) {
    const every = Math.max(1, Math.ceil(axis.names.length / count));
    return axis.names.map((name, place) => [place, name]).filter(([place]) => place % every === 0);
  }
  if (axis.log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of [1, 2, 5]) {
        const value = digit * 10 ** power;
        if (value >= low && value <= high) found.push(value);
      }
    if (found.length > 2) {
      const every = Math.ceil(found.length / count);
      return found.filter((_, place) => place % every === 0).map((value) => [value, label(axis, value, value)]);
    }
  }
  const rough = (high - low) / Math.max(1, count), scale = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((digit) => digit * scale).find((each) => each >= rough * 0.999) || 10 * scale;
  if (axis.kind === "whole") step = Math.max(1, Math.round(step));
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + 1e-9 * step; index++) {
    const value = index * step;
    found.push([value, label(axis, value, step)]);
  }
  return found;
}

// One chart -------------------------------------------------------------------------------------------------------------------
// spec: {height, x, y, series, lines, label}; an axis: {title, low, high, log, kind, unit, names}.
// series: {kind: "marks"|"line"|"step", role, shape, name, dash, points: [{x, y, tip, id, css}]}; lines: {axis, at, text, role}.
class Chart {
  constructor(host, spec, pick = null) {
    Object.assign(this, { host, pick, rings: [], places: new Map() });
    host.classList.add("chart");
    this.tip = make("div", { class: "tip", hidden: "" });
    this.set(spec);
    new ResizeObserver(() => this.width !== host.clientWidth && this.paint()).observe(host);
  }

  set(spec) {
    this.spec = spec;
    this.paint();
  }

  // rings: [{id, css, text}] around marks
  ring(rings) {
    this.rings = rings;
    this.paintRings();
  }

  paint() {
    const { host, spec } = this, focused = host.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.width = host.clientWidth;
    if (!this.width) return;
    const { x, y, height } = spec;
    const yTicks = ticks(y, y.low, y.high, Math.max(3, Math.floor(height / 62)));
    const left = 12 + 7.4 * Math.max(3, ...yTicks.map(([, text]) => text.length)), right = 16, top = 34, bottom = 52;
    const box = { left, top, right: this.width - right, bottom: height - bottom };
    const at = (axis, from, to) => {
      const f = axis.log ? Math.log : (value) => value, low = f(axis.low), span = f(axis.high) - low || 1;
      return (value) => from + ((f(value) - low) / span) * (to - from);
    };
    this.sx = at(x, box.left, box.right);
    this.sy = at(y, box.bottom, box.top);
    host.replaceChildren();
    const root = draw("svg", { class: "plot", width: this.width, height, role: this.pick ? "group" : "img", "aria-label": spec.label }, host);
    this.root = root;
    const defs = draw("defs", {}, root);
    const clipped = (room) => {
      const id = `clip-${(Chart.count = (Chart.count || 0) + 1)}`;
      draw("rect", { x: box.left - room, y: box.top - room, width: box.right - box.left + 2 * room, height: box.bottom - box.top + 2 * room },
        draw("clipPath", { id }, defs));
      return draw("g", { "clip-path": `url(#${id})` });
    };
    for (const [value, text] of yTicks) {
      draw("path", { class: "grid", d: `M${box.left},${this.sy(value)}H${box.right}` }, root);
      draw("text", { class: "tick", x: box.left - 8, y: this.sy(value) + 4, "text-anchor": "end" }, root, text);
    }
    let free = -Infinity;
    for (const [value, text] of ticks(x, x.low, x.high, Math.max(3, Math.floor((box.right - box.left) / 84)))) {
      const place = this.sx(value), half = 3.7 * text.length;
      draw("path", { class: "axis", d: `M${place},${box.bottom}v5` }, root);
      if (place - half < free || place + half > this.width) continue;
      free = place + half + 10;
      draw("text", { class: "tick", x: place, y: box.bottom + 20, "text-anchor": "middle" }, root, text);
    }
    draw("path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}H${box.right}` }, root);
    draw("text", { class: "title", x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, root, x.title);
    draw("text", { class: "title", x: 0, y: 13 }, root, y.title);
    const below = clipped(1), above = clipped(12);
    this.overlay = clipped(16);
    root.append(below, above, this.overlay);
    for (const line of spec.lines || []) this.rule(below, line, box);
    this.places.clear();
    this.drawn = [];
    for (const series of spec.series) this.series(series.kind === "marks" ? above : below, series, box);
    host.append(this.tip);
    this.paintRings();
    root.addEventListener("pointermove", (event) => this.hover(event));
    root.addEventListener("pointerleave", () => (this.tip.hidden = true));
    if (this.pick) root.addEventListener("click", (event) => this.near(event) && this.pick(this.near(event).id));
    if (focused) this.focus(focused);
  }

  rule(parent, line, box) {
    const { sx, sy } = this, along = line.axis === "y";
    const place = along ? sy(line.at) : sx(line.at);
    if (!Number.isFinite(place) || place < (along ? box.top : box.left) - 1 || place > (along ? box.bottom : box.right) + 1) return;
    draw("path", { class: `line rule ${line.role}`, d: along ? `M${box.left},${place}H${box.right}` : `M${place},${box.top}V${box.bottom}` }, parent);
    if (!line.text) return;
    const end = !along && place > (box.left + box.right) / 2;
    const where = along ? { x: box.left + 6, y: place - 20 < box.top ? place + 17 : place - 7 } : { x: place, y: box.top - 6 };
    draw("text", { class: `note ${line.role}`, ...where, "text-anchor": end ? "end" : "start" }, this.root, line.text);
  }

  series(parent, series, box) {
    const { sx, sy } = this, group = draw("g", { class: `series ${series.role}` }, parent);
    const points = series.points.filter((point) => point.y !== null);
    if (series.kind !== "marks") {
      const path = points.map((point, place) => {
        const [left, top] = [sx(point.x).toFixed(1), sy(point.y).toFixed(1)];
        return place === 0 ? `M${left},${top}` : series.kind === "step" ? `H${left}V${top}` : `L${left},${top}`;
      });
      draw("path", { class: `line ${series.dash || ""}`, d: path.join("") + (series.kind === "step" && points.length ? `H${box.right}` : "") }, group);
      return;
    }
    for (const point of points) {
      const spot = { ...point, left: sx(point.x), top: sy(point.y) };
      const inside = spot.top >= box.top - 10 && spot.top <= box.bottom + 10 && spot.left >= box.left - 10 && spot.left <= box.right + 10;
      if (!inside) continue;
      const mark = draw("path", {
        class: `mark shape-${series.shape} ${point.css || ""}`,
        d: SHAPES[series.shape](series.size || 5.5),
        transform: `translate(${spot.left.toFixed(1)} ${spot.top.toFixed(1)})`,
      }, group);
      if (this.pick) filled(mark, { role: "button", tabindex: "-1", "data-id": point.id, "aria-label": point.tip.join(", ") }, null, null);
      this.drawn.push(spot);
      if (point.id !== undefined) this.places.set(point.id, { ...spot, mark });
    }
  }

  paintRings() {
    if (!this.overlay) return;
    this.overlay.replaceChildren();
    for (const { mark } of this.places.values()) if (this.pick) filled(mark, { "aria-pressed": "false" }, null, null);
    for (const { id, css, text } of this.rings) {
      const place = this.places.get(id);
      if (!place) continue;
      if (css !== "knee") place.mark.setAttribute("aria-pressed", "true");
      draw("circle", { class: `ring ${css}`, cx: place.left, cy: place.top, r: css === "knee" ? 9 : 12 }, this.overlay);
      if (!text) continue;
      const end = place.left > this.width - 90;
      draw("text", { class: `note ${css}`, x: place.left + (end ? -14 : 14), y: place.top + 19, "text-anchor": end ? "end" : "start" }, this.overlay, text);
    }
  }

  near(event) {
    const frame = this.root.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    let best = null, least = 26 ** 2;
    for (const spot of this.drawn) {
      const distance = (spot.left - x) ** 2 + (spot.top - y) ** 2;
      if (distance <= least) [best, least] = [spot, distance];
    }
    return best;
  }

  hover(event) {
    const spot = event.pointerType === "touch" ? null : this.near(event); // a finger would hide it, and cannot leave
    this.tip.hidden = !spot;
    this.root.classList.toggle("over", Boolean(spot && this.pick));
    if (!spot) return;
    this.tip.replaceChildren(...spot.tip.map((text, place) => make(place ? "div" : "strong", {}, null, text)));
    const width = this.tip.offsetWidth, tall = this.tip.offsetHeight;
    this.tip.style.left = `${Math.max(4, Math.min(spot.left + 14, this.width - width - 4))}px`;
    this.tip.style.top = `${spot.top - tall - 14 < 0 ? spot.top + 16 : spot.top - tall - 14}px`;
  }

  focus(id) {
    const place = this.places.get(id);
    for (const { mark } of this.places.values()) mark.setAttribute("tabindex", "-1");
    if (!place) return;
    place.mark.setAttribute("tabindex", "0");
    place.mark.focus({ preventScroll: true });
  }

  reachable(id) {
    const first = this.places.get(id) || this.places.values().next().value;
    for (const { mark } of this.places.values()) mark.setAttribute("tabindex", "-1");
    if (first) first.mark.setAttribute("tabindex", "0");
  }
}

function legend(host, entries) {
  const list = make("ul", { class: "legend" }, host), seen = new Set();
  for (const { name, shape, role, kind, dash } of entries) {
    if (!name || seen.has(name)) continue;
    seen.add(name);
    const item = make("li", {}, list);
    symbol(kind && kind !== "marks" ? dash || "solid" : shape, role, item);
    item.append(name);
  }
  return list;
}
