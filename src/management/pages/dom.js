// Elements and texts. Nothing from the broker ever becomes markup: all of it goes in as text nodes.

/** An element: h("td.num", {title: "…", onclick: f}, child, …). `null` children are left out. */
export function h(spec, ...rest) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  if (rest.length && isAttributes(rest[0])) {
    for (const [name, value] of Object.entries(rest.shift())) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name in element && typeof value !== "string") element[name] = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
  }
  append(element, rest);
  return element;
}

const isAttributes = (value) => value !== null && typeof value === "object" && !(value instanceof Node) && !Array.isArray(value);

function append(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Puts other children into an element, leaving the focus where it was if the same thing is there again. */
export function replace(element, ...children) {
  const focused = document.activeElement;
  const key = element.contains(focused) ? focused.dataset.key : undefined;
  element.replaceChildren();
  append(element, children);
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

const SVG = "http://www.w3.org/2000/svg";
/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  append(element, children);
  return element;
}

// --- how values are shown

const NONE = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count. */
export const count = (n) => (typeof n === "number" ? grouped.format(n) : NONE);

/** A rate per second. */
export function rate(n) {
  if (typeof n !== "number") return NONE;
  if (n === 0) return "0/s";
  return `${n < 10 ? n.toFixed(1) : short(n)}/s`;
}

/** A count in few figures: 12.3k. */
export function short(n) {
  if (typeof n !== "number") return NONE;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(n) >= size) return `${(n / (unit === "k" ? 1e3 : size)).toFixed(1)}${unit}`;
  }
  return grouped.format(n);
}

/** Octets. */
export function bytes(n) {
  if (typeof n !== "number") return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (Math.abs(n) >= 1024 && at < units.length - 1) { n /= 1024; at += 1; }
  return `${at === 0 ? n : n.toFixed(1)} ${units[at]}`;
}

/** How long something lasts, from milliseconds. */
export function duration(ms) {
  if (typeof ms !== "number") return NONE;
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A moment, from milliseconds since 1970. */
export const moment = (ms) => (typeof ms === "number" ? new Date(ms).toLocaleString() : NONE);

/** A table of AMQP values on one line each. */
export function table(values) {
  const entries = Object.entries(values ?? {});
  if (!entries.length) return h("span.faint", NONE);
  return h("dl.pairs", entries.map(([name, value]) => [h("dt", name), h("dd", typeof value === "object" ? JSON.stringify(value) : String(value))]));
}

/** Small marks of what a queue or exchange is. */
export const badge = (text, title, kind = "") => h(`span.badge${kind && `.${kind}`}`, { title }, text);

/** The name of the default exchange is empty. */
export const exchangeName = (name) => (name === "" ? "(default)" : name);
