// Virtual hosts and their limits.
import { get, part, put, remove } from "../api.js";
import { badge, count, h, rate, replace, short } from "../dom.js";
import { act, form, say } from "../forms.js";
import { list, rows } from "../list.js";

export function vhosts({ address, body }) {
  const all = list({
    path: () => "vhosts",
    key: (v) => v.name,
    empty: "There is no vhost.",
    columns: [
      { title: "Name", sort: "name", wide: true, cell: (v) => [v.name, v.description && h("div.faint", v.description)] },
      { title: "Tags", cell: (v) => (v.tags ?? []).map((tag) => badge(tag)) },
      { title: "Queue type", cell: (v) => (v.default_queue_type === "undefined" ? "" : v.default_queue_type) },
      { title: "Ready", sort: "messages_ready", num: true, cell: (v) => short(v.messages_ready) },
      { title: "Unacked", sort: "messages_unacknowledged", num: true, cell: (v) => short(v.messages_unacknowledged) },
      { title: "Publish", sort: "message_stats.publish_details.rate", num: true, cell: (v) => rate(v.message_stats?.publish_details?.rate) },
      { title: "Deliver", sort: "message_stats.deliver_get_details.rate", num: true, cell: (v) => rate(v.message_stats?.deliver_get_details?.rate) },
      { title: "Firehose", cell: (v) => act(v.tracing ? "Turn off" : "Turn on", () => put(`vhosts/${part(v.name)}`, { tracing: !v.tracing }), { title: "Copies of all messages to amq.rabbitmq.trace", done: v.tracing ? "No more copies are made." : "Copies go to amq.rabbitmq.trace." }) },
      { title: "", cell: (v) => act("Delete", () => remove(`vhosts/${part(v.name)}`), { kind: "danger", done: "The vhost is deleted.", sure: { question: `Delete vhost ${v.name}?`, detail: "All its exchanges, queues and messages go with it, and its connections are closed.", action: "Delete everything in it" } }) },
    ],
  }, address);
  const add = form({
    fields: [{ name: "name", label: "Name", required: true }, { name: "description", label: "Description" }, { name: "tags", label: "Tags", hint: "separated by commas" }, { name: "default_queue_type", label: "Default queue type", type: "select", options: [["", "classic (default)"], "classic", "quorum"] }],
    action: "Save vhost",
    async submit({ name, default_queue_type, ...rest }) {
      await put(`vhosts/${part(name)}`, default_queue_type ? { ...rest, default_queue_type } : rest);
      say(`Vhost ${name} is saved.`);
      document.dispatchEvent(new Event("refresh"));
    },
  });
  const limits = h("section");
  const limit = form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "name", label: "Limit", type: "select", options: ["max-connections", "max-queues"] }, { name: "value", label: "Value", type: "number", required: true, hint: "0 refuses all, -1 is no limit" }],
    action: "Set limit",
    async submit({ vhost, name, value }) {
      await put(`vhost-limits/${part(vhost)}/${name}`, { value });
      say("The limit is set.");
      document.dispatchEvent(new Event("refresh"));
    },
  });
  replace(body, h("h2", "Vhosts"), all.root, h("details.card", h("summary", "Add or change a vhost"), add), h("h3", "Limits"), limits, h("details.card", h("summary", "Set a limit"), limit));
  return {
    async refresh(signal) {
      const [, found] = await Promise.all([all.refresh(signal), get("vhost-limits", signal)]);
      const each = found.flatMap((v) => Object.entries(v.value).map(([name, value]) => ({ vhost: v.vhost, name, value })));
      replace(limits, rows([{ title: "Vhost", cell: (l) => l.vhost }, { title: "Limit", cell: (l) => l.name }, { title: "Value", num: true, cell: (l) => count(l.value) },
        { title: "", cell: (l) => act("Clear", () => remove(`vhost-limits/${part(l.vhost)}/${l.name}`), { kind: "danger", done: "The limit is cleared." }) }], each, "No vhost has a limit."));
    },
  };
}
