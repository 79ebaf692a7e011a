// Queues: what waits for whom.
import { part, put } from "../api.js";
import { badge, bytes, count, h, rate, replace } from "../dom.js";
import { form, parseArguments, say } from "../forms.js";
import { list } from "../list.js";

// The commonest arguments as short marks, as RabbitMQ's own pages show them.
const MARKS = { "x-message-ttl": "TTL", "x-expires": "Exp", "x-max-length": "Lim", "x-max-length-bytes": "Lim B", "x-overflow": "Ovfl", "x-dead-letter-exchange": "DLX", "x-dead-letter-routing-key": "DLK", "x-max-priority": "Pri", "x-single-active-consumer": "SAC", "x-message-deduplication": "Dedup", "x-delivery-limit": "DL" };

export const features = (q) => [
  q.durable && badge("D", "Durable: survives a restart"), q.auto_delete && badge("AD", "Auto-delete"), q.exclusive && badge("Excl", "Exclusive to one connection"),
  Object.entries(q.arguments ?? {}).map(([name, value]) => MARKS[name] && badge(MARKS[name], `${name} = ${JSON.stringify(value)}`)),
  q.policy && badge(q.policy, "Policy", "good"),
];

const state = (q) => badge(q.state ?? "?", q.idle_since ? `idle since ${q.idle_since}` : "", q.state === "running" ? "good" : "");

export function queues({ address, body }) {
  const all = list({
    path: () => "queues",
    key: (q) => `${q.vhost}/${q.name}`,
    open: (q) => `#/queues/${part(q.vhost)}/${part(q.name)}`,
    empty: "There is no queue yet: a client declares one, or the form below does.",
    columns: [
      { title: "Vhost", sort: "vhost", cell: (q) => q.vhost },
      { title: "Name", sort: "name", wide: true, cell: (q) => q.name },
      { title: "Type", sort: "type", cell: (q) => q.type },
      { title: "Features", cell: features },
      { title: "State", sort: "state", cell: state },
      { title: "Ready", sort: "messages_ready", num: true, cell: (q) => count(q.messages_ready) },
      { title: "Unacked", sort: "messages_unacknowledged", num: true, cell: (q) => count(q.messages_unacknowledged) },
      { title: "Octets", sort: "message_bytes", num: true, cell: (q) => bytes(q.message_bytes) },
      { title: "Consumers", sort: "consumers", num: true, cell: (q) => count(q.consumers) },
      { title: "In", sort: "message_stats.publish_details.rate", num: true, cell: (q) => rate(q.message_stats?.publish_details?.rate) },
      { title: "Out", sort: "message_stats.deliver_get_details.rate", num: true, cell: (q) => rate(q.message_stats?.deliver_get_details?.rate) },
      { title: "Ack", sort: "message_stats.ack_details.rate", num: true, cell: (q) => rate(q.message_stats?.ack_details?.rate) },
    ],
  }, address);
  const add = form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "name", label: "Name", required: true }, { name: "type", label: "Type", type: "select", options: ["classic", "quorum"] },
      { name: "durable", label: "Durable", type: "check", value: true }, { name: "auto_delete", label: "Auto-delete", type: "check" },
      { name: "arguments", label: "Arguments", type: "area", hint: "One a line: x-message-ttl = 60000" }],
    action: "Add queue",
    async submit({ vhost, name, type, durable, auto_delete, arguments: text }) {
      await put(`queues/${part(vhost)}/${part(name)}`, { durable, auto_delete, arguments: { "x-queue-type": type, ...parseArguments(text) } });
      say(`Queue ${name} is there.`);
      document.dispatchEvent(new Event("refresh"));
    },
  });
  replace(body, h("h2", "Queues"), all.root, h("details.card", h("summary", "Add a queue"), add));
  return all;
}
