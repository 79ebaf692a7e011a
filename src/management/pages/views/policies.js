// Policies: settings for all queues and exchanges whose name matches.
import { get, part, put, remove } from "../api.js";
import { badge, count, h, replace, table } from "../dom.js";
import { act, form, parseArguments, say } from "../forms.js";
import { rows } from "../list.js";

const APPLY_TO = ["all", "queues", "classic_queues", "quorum_queues", "exchanges"];
const KEYS = "message-ttl, expires, max-length, max-length-bytes, overflow, dead-letter-exchange, dead-letter-routing-key, delivery-limit, alternate-exchange …";
const OPERATOR_KEYS = "message-ttl, expires, max-length, max-length-bytes, delivery-limit, overflow";

export function policies({ body, me }) {
  const mayOperate = (Array.isArray(me.tags) ? me.tags : String(me.tags).split(",")).includes("administrator");
  const kinds = [
    { path: "policies", title: "Policies", keys: KEYS, applies: APPLY_TO, editable: true },
    { path: "operator-policies", title: "Operator policies", keys: OPERATOR_KEYS, applies: APPLY_TO.filter((a) => a.includes("queues")), editable: mayOperate },
  ].map((kind) => ({ ...kind, where: h("section") }));
  replace(body, h("h2", "Policies"), h("p.faint", "Of the policies that match a name, the one of the highest priority counts. An operator policy is merged over it: of two numbers the smaller counts. A queue's own page explains what is in force and why."),
    kinds.map((kind) => [h("h3", kind.title), kind.where, kind.editable && h("details.card", h("summary", `Add or change: ${kind.title.toLowerCase()}`), edit(kind))]));
  return {
    async refresh(signal) {
      const answers = await Promise.all(kinds.map((kind) => get(kind.path, signal)));
      kinds.forEach((kind, i) => replace(kind.where, rows([
        { title: "Vhost", cell: (p) => p.vhost }, { title: "Name", cell: (p) => p.name }, { title: "Pattern", wide: true, cell: (p) => h("code", p.pattern) }, { title: "Applies to", cell: (p) => badge(p["apply-to"]) },
        { title: "Definition", wide: true, cell: (p) => table(p.definition) }, { title: "Priority", num: true, cell: (p) => count(p.priority) },
        { title: "", cell: (p) => kind.editable && act("Clear", () => remove(`${kind.path}/${part(p.vhost)}/${part(p.name)}`), { kind: "danger", done: `${p.name} is cleared.`, sure: { question: `Clear ${p.name}?`, detail: "Queues and exchanges it matched fall back to the next policy at once.", action: "Clear" } }) },
      ], answers[i], "None.")));
    },
  };
}

function edit(kind) {
  return form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "name", label: "Name", required: true }, { name: "pattern", label: "Pattern", value: "^", required: true, hint: "a regex of names" },
      { name: "apply-to", label: "Applies to", type: "select", options: kind.applies }, { name: "priority", label: "Priority", type: "number", value: 0 }, { name: "definition", label: "Definition", type: "area", hint: `One a line, key = value. ${kind.keys}` }],
    action: "Save",
    async submit({ vhost, name, definition, ...rest }) {
      await put(`${kind.path}/${part(vhost)}/${part(name)}`, { ...rest, definition: parseArguments(definition) });
      say(`${name} is in force.`);
      document.dispatchEvent(new Event("refresh"));
    },
  });
}
