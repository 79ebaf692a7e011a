// Who may log in, and what each may do where.
import { get, part, put, remove } from "../api.js";
import { badge, h, replace } from "../dom.js";
import { act, form, say } from "../forms.js";
import { list, rows } from "../list.js";

const tagsOf = (u) => (Array.isArray(u.tags) ? u.tags : String(u.tags ?? "").split(",")).filter(Boolean);
const TAGS = "administrator, monitoring, policymaker, management, impersonator";

export function users({ address, body }) {
  const all = list({
    path: () => "users",
    key: (u) => u.name,
    open: (u) => `#/users/${part(u.name)}`,
    empty: "There is no user.",
    columns: [
      { title: "Name", sort: "name", wide: true, cell: (u) => u.name },
      { title: "Tags", sort: "tags", cell: (u) => tagsOf(u).map((tag) => badge(tag)) },
      { title: "Password", cell: (u) => (u.password_hash ? badge("set", u.hashing_algorithm ?? "") : badge("none", "Can't log in by password", "warn")) },
    ],
  }, address);
  const add = form({
    fields: [{ name: "name", label: "Name", required: true }, { name: "password", label: "Password", type: "password", required: true }, { name: "tags", label: "Tags", hint: TAGS }],
    action: "Save user",
    async submit({ name, password, tags }) {
      await put(`users/${part(name)}`, { password, tags });
      say(`User ${name} is saved. Without permissions below it can log in nowhere.`);
      location.hash = `#/users/${part(name)}`;
    },
  });
  replace(body, h("h2", "Users"), all.root, h("details.card", h("summary", "Add or change a user"), add));
  return all;
}

export function user({ address, body }) {
  const name = address.parts[1];
  const path = `users/${part(name)}`;
  const facts = h("section.card");
  const permissions = h("section");
  const topics = h("section");
  const pattern = (title, key) => ({ title, cell: (p) => h("code", p[key] === "" ? "(nothing)" : p[key]) });
  const grant = form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "configure", label: "Configure", value: ".*", hint: "regex of names" }, { name: "write", label: "Write", value: ".*" }, { name: "read", label: "Read", value: ".*" }],
    action: "Set permission",
    async submit({ vhost, ...patterns }) {
      await put(`permissions/${part(vhost)}/${part(name)}`, patterns);
      say("The permission is set.");
      document.dispatchEvent(new Event("refresh"));
    },
  });
  const grantTopic = form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "exchange", label: "Topic exchange", value: "amq.topic", required: true }, { name: "write", label: "Write", value: ".*", hint: "regex of routing keys; {username} and {vhost} stand for themselves" }, { name: "read", label: "Read", value: ".*" }],
    action: "Set topic permission",
    async submit({ vhost, ...rest }) {
      await put(`topic-permissions/${part(vhost)}/${part(name)}`, rest);
      say("The topic permission is set.");
      document.dispatchEvent(new Event("refresh"));
    },
  });
  replace(body, h("div.heading", h("h2", name), act("Delete user", () => remove(path).then(() => { location.hash = "#/users"; }), { kind: "danger", done: "The user is deleted.", sure: { question: `Delete user ${name}?`, detail: "Its permissions go with it.", action: "Delete" } })),
    facts, h("h3", "Permissions"), permissions, h("details.card", h("summary", "Set a permission"), grant),
    h("h3", "Topic permissions"), topics, h("details.card", h("summary", "Set a topic permission"), grantTopic));
  return {
    async refresh(signal) {
      const [u, may, mayTopic] = await Promise.all([get(path, signal), get(`${path}/permissions`, signal), get(`${path}/topic-permissions`, signal)]);
      replace(facts, h("dl.pairs", h("dt", "Tags"), h("dd", tagsOf(u).map((tag) => badge(tag))), h("dt", "Password hash"), h("dd", u.hashing_algorithm ?? "none")));
      replace(permissions, rows([{ title: "Vhost", cell: (p) => p.vhost }, pattern("Configure", "configure"), pattern("Write", "write"), pattern("Read", "read"),
        { title: "", cell: (p) => act("Clear", () => remove(`permissions/${part(p.vhost)}/${part(name)}`), { kind: "danger", done: "The permission is cleared." }) }], may, "This user may enter no vhost."));
      replace(topics, rows([{ title: "Vhost", cell: (p) => p.vhost }, { title: "Exchange", cell: (p) => p.exchange }, pattern("Write", "write"), pattern("Read", "read"),
        { title: "", cell: (p) => act("Clear", () => remove(`topic-permissions/${part(p.vhost)}/${part(name)}`), { kind: "danger", done: "Cleared." }) }], mayTopic, "None: topic exchanges are not restricted further."));
    },
  };
}
