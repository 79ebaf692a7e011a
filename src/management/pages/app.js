// The frame: login, navigation, keys, and the clock that refreshes the page that is open.
import { get, isLoggedIn, logIn, logOut } from "./api.js";
import { h, replace } from "./dom.js";
import { form, show } from "./forms.js";
import { channel, channels } from "./views/channels.js";
import { connection, connections } from "./views/connections.js";
import { definitions } from "./views/definitions.js";
import { exchange, exchanges } from "./views/exchanges.js";
import { overview } from "./views/overview.js";
import { policies } from "./views/policies.js";
import { queue } from "./views/queue.js";
import { queues } from "./views/queues.js";
import { user, users } from "./views/users.js";
import { vhosts } from "./views/vhosts.js";

// Name, key, view, and which tag a user needs to see it.
const PAGES = [
  { path: "overview", title: "Overview", key: "o", view: overview },
  { path: "connections", title: "Connections", key: "c", view: connections, detail: connection },
  { path: "channels", title: "Channels", key: "h", view: channels, detail: channel },
  { path: "exchanges", title: "Exchanges", key: "e", view: exchanges, detail: exchange },
  { path: "queues", title: "Queues", key: "q", view: queues, detail: queue },
  { path: "policies", title: "Policies", key: "p", view: policies, tag: "policymaker" },
  { path: "users", title: "Users", key: "u", view: users, detail: user, tag: "administrator" },
  { path: "vhosts", title: "Vhosts", key: "v", view: vhosts, tag: "administrator" },
  { path: "definitions", title: "Definitions", key: "d", view: definitions, tag: "administrator" },
];

// A tag includes what the lesser ones may see.
const INCLUDES = { administrator: ["administrator", "policymaker", "monitoring", "management"], policymaker: ["policymaker", "management"], monitoring: ["monitoring", "management"], management: ["management"] };
const INTERVALS = [[2, "every 2 s"], [5, "every 5 s"], [30, "every 30 s"], [0, "paused"]];

const app = document.getElementById("app");
let me;
let current;

/** What is in the address behind `#/queues?…`: the state of a page that can be kept and shared. */
class Address {
  constructor() {
    const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
    this.parts = path.split("/").filter(Boolean).map(decodeURIComponent);
    this.values = new URLSearchParams(search);
  }
  get(name) { return this.values.get(name) ?? undefined; }
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === "" || value === undefined) this.values.delete(name);
      else this.values.set(name, value);
    }
    const search = this.values.toString();
    history.replaceState(null, "", `#/${this.parts.map(encodeURIComponent).join("/")}${search && `?${search}`}`);
    refresh();
  }
}

const setting = {
  get: (name, otherwise) => localStorage.getItem(`warren-${name}`) ?? otherwise,
  set: (name, value) => localStorage.setItem(`warren-${name}`, value),
};

// --- login

function loginPage(reason) {
  current = undefined;
  const fields = [{ name: "user", label: "User", required: true }, { name: "password", label: "Password", type: "password", required: true }];
  const submit = async ({ user: name, password }) => {
    logIn(name, password);
    try { me = await get("whoami"); } catch (fault) {
      logOut();
      throw fault.status === 401 ? new Error("Unknown user, wrong password, or no tag that lets this user in here.") : fault;
    }
    start();
  };
  const login = form({ fields, action: "Log in", submit });
  login.querySelector('[name="password"]').autocomplete = "current-password";
  replace(app, h("main.login#main", h("div.brand", h("img", { src: "icon.svg", alt: "" }), "Warren"), reason && h("p.fault", reason), login));
  app.querySelector("input").focus();
}

// --- the frame

let links;
let main;
let status;
let title;

function frame() {
  const mine = new Set((Array.isArray(me.tags) ? me.tags : String(me.tags).split(",")).flatMap((tag) => INCLUDES[tag] ?? []));
  const seen = PAGES.filter((page) => !page.tag || mine.has(page.tag));
  links = new Map(seen.map((page) => [page.path, h("a.item", { href: `#/${page.path}` }, page.title, h("kbd", `g ${page.key}`))]));
  main = h("main", { id: "main", tabindex: "-1" });
  status = h("span.live", { role: "status" });
  title = h("b");
  const interval = h("select", { "aria-label": "Refresh", onchange: () => { setting.set("interval", interval.value); schedule(); } },
    INTERVALS.map(([s, label]) => h("option", { value: String(s), selected: String(s) === setting.get("interval", "5") }, label)));
  const theme = h("button", { title: "Light or dark ( t )", onclick: turnTheme, "aria-label": "Light or dark" }, "◐");
  replace(app, h("div.frame",
    h("nav.side", { "aria-label": "Pages" }, h("a.brand", { href: "#/overview" }, h("img", { src: "icon.svg", alt: "" }), "Warren"), [...links.values()]),
    h("header.top", title, h("span.space"), status, interval, h("button", { title: "Refresh now ( r )", onclick: () => refresh() }, "↻"), theme,
      h("button", { title: "Keys ( ? )", onclick: keys }, "?"), h("span.faint", me.name), h("button", { onclick: () => { logOut(); loginPage(); } }, "Log out")),
    main));
}

function turnTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark")
    && (document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches));
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  setting.set("theme", document.documentElement.dataset.theme);
}

// --- pages

function open() {
  if (!isLoggedIn()) return loginPage();
  const address = new Address();
  const page = PAGES.find((p) => p.path === address.parts[0]) ?? PAGES[0];
  for (const [path, link] of links) {
    if (path === page.path) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const view = address.parts.length > 1 && page.detail ? page.detail : page.view;
  document.title = `${address.parts.length > 1 ? address.parts.at(-1) : page.title} · Warren`;
  const body = h("div");
  replace(main, body);
  current = view({ address, body, me });
  return refresh();
}

let under;
let timer;

/** Asks the page that is open for its data again. An answer that comes after the next question is dropped. */
async function refresh() {
  if (!current) return;
  under?.abort();
  const mine = under = new AbortController();
  try {
    await current.refresh(mine.signal);
    status.className = "live";
    status.textContent = "live";
  } catch (fault) {
    if (fault.name === "AbortError" || mine !== under) return;
    if (fault.status === 401) { logOut(); loginPage("Please log in again."); return; }
    status.className = "live stale";
    status.textContent = fault.message;
    if (!main.textContent || fault.status === 404) replace(main, h("p.card", fault.status === 404 ? "It does not exist, or no longer." : fault.message));
  }
  schedule();
}

function schedule() {
  clearTimeout(timer);
  const seconds = Number(setting.get("interval", "5"));
  if (seconds > 0) timer = setTimeout(() => (document.hidden ? schedule() : refresh()), seconds * 1000);
}

// --- keys

let going = false;

function keys() {
  show("Keys", h("dl.pairs", [["g and a letter", "open a page: the letters stand beside the pages"], ["/", "filter the list"], ["↑ ↓ Enter", "walk a list, open a row"],
    ["[ ]", "page back, page on"], ["r", "refresh now"], ["t", "light or dark"], ["Esc", "leave a field or a dialog"], ["?", "this"]].map(([k, what]) => [h("dt", h("kbd", k)), h("dd", what)])));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !current) return;
  if (event.target.closest("input, select, textarea, dialog")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (going) {
    going = false;
    const page = PAGES.find((p) => p.key === event.key && links.has(p.path));
    if (page) { location.hash = `#/${page.path}`; event.preventDefault(); }
    return;
  }
  const press = (name) => main.querySelector(`[data-key="${name}"]`)?.click();
  switch (event.key) {
    case "g": going = true; setTimeout(() => { going = false; }, 1200); break;
    case "/": main.querySelector('input[type="search"]')?.focus(); break;
    case "r": refresh(); break;
    case "t": turnTheme(); break;
    case "?": keys(); break;
    case "[": press("Previous page"); break;
    case "]": press("Next page"); break;
    case "ArrowDown": main.querySelector("tr[tabindex]")?.focus(); break;
    default: return;
  }
  event.preventDefault();
});

// --- start

async function start() {
  try {
    me ??= await get("whoami");
  } catch (fault) {
    logOut();
    return loginPage(fault.status === 401 ? undefined : fault.message);
  }
  frame();
  get("overview").then((o) => { title.textContent = o.cluster_name; }, () => {});
  return open();
}

const theme = setting.get("theme");
if (theme) document.documentElement.dataset.theme = theme;
window.addEventListener("hashchange", open);
document.addEventListener("refresh", refresh);
if (isLoggedIn()) start(); else loginPage();
