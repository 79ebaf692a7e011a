// One queue: what waits in it, who takes it, where it comes from, and what rules it.
import { get, part, post, remove } from "../api.js";
import { chart, levelsOf } from "../chart.js";
import { badge, bytes, count, h, replace, short, table } from "../dom.js";
import { act, form } from "../forms.js";
import { rows } from "../list.js";
import { bindingRows, publishForm } from "./exchanges.js";
import { browse, message, moveForm } from "./messages.js";
import { flows } from "./overview.js";
import { features } from "./queues.js";

const AGE = "lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5";

export function queue({ address, body }) {
  const [, vhost, name] = address.parts;
  const at = `${part(vhost)}/${part(name)}`;
  const path = `queues/${at}`;
  const figures = h("div.figures");
  const depth = chart("Messages", short);
  const rates = chart("Messages per second");
  const facts = h("section.card");
  const rules = h("section.card");
  const consumers = h("section");
  const bindings = h("section");
  replace(body,
    h("div.heading", h("h2", name), h("div.actions",
      act("Purge", () => remove(`${path}/contents`), { kind: "danger", done: "The ready messages are gone.", sure: { question: `Purge ${name}?`, detail: "All ready messages are dropped. Unacked ones stay with their consumers.", action: "Purge" } }),
      act("Delete queue", () => remove(path).then(() => { location.hash = "#/queues"; }), { kind: "danger", done: "The queue is deleted.", sure: { question: `Delete queue ${name}?`, detail: "Its messages and bindings go with it.", action: "Delete it" } }))),
    figures, h("div.grid", depth.root, rates.root), h("div.grid", facts, rules),
    h("h3", "Consumers"), consumers, h("h3", "Bindings"), bindings,
    h("details.card", h("summary", "Look at messages"), browse(at)),
    h("details.card", h("summary", "Move messages"), moveForm(at)),
    h("details.card", h("summary", "Get messages"), take(at)),
    h("details.card", h("summary", "Publish a message here"), publishForm(vhost, "", name)));

  return {
    async refresh(signal) {
      const [q, bound, why] = await Promise.all([get(`${path}?${AGE}`, signal), get(`${path}/bindings`, signal), get(`warren/${path}/explain`, signal)]);
      replace(figures, [["messages_ready", "Ready"], ["messages_unacknowledged", "Unacked"], ["messages", "Total"], ["consumers", "Consumers"]].map(([key, label]) => h("div.figure", h("b", count(q[key])), h("span", label))),
        h("div.figure", h("b", bytes(q.message_bytes)), h("span", "Octets of bodies")));
      depth.show([["messages_ready", "Ready"], ["messages_unacknowledged", "Unacked"]].map(([key, label]) => ({ label, points: levelsOf(q[`${key}_details`]), now: q[key] })));
      rates.show(flows(q.message_stats));
      replace(facts, h("h3", "Facts"), h("dl.pairs", [["Vhost", q.vhost], ["Type", q.type], ["Features", features(q)], ["State", q.state], ["Policy", q.policy], ["Operator policy", q.operator_policy],
        ["Exclusive to", q.owner_pid_details?.name && h("a", { href: `#/connections/${part(q.owner_pid_details.name)}` }, q.owner_pid_details.name)],
        ["Active consumer", q.single_active_consumer_tag], ["In memory", typeof q.message_bytes_ram === "number" ? bytes(q.message_bytes_ram) : undefined], ["Arguments", table(q.arguments)]]
        .filter(([, value]) => value).map(([label, value]) => [h("dt", label), h("dd", value)])));
      replace(rules, h("h3", "What is in force, and why"), explanation(why));
      replace(consumers, rows([
        { title: "Channel", wide: true, cell: (c) => h("a", { href: `#/channels/${part(c.channel_details.name)}` }, c.channel_details.name) }, { title: "Tag", wide: true, cell: (c) => c.consumer_tag },
        { title: "Ack", cell: (c) => (c.ack_required ? "manual" : "automatic") }, { title: "Prefetch", num: true, cell: (c) => count(c.prefetch_count) }, { title: "Exclusive", cell: (c) => (c.exclusive ? "●" : "") },
        { title: "Active", cell: (c) => (c.active === false ? badge("waiting") : badge("active", "", "good")) },
      ], q.consumer_details ?? [], "Nobody consumes from this queue."));
      replace(bindings, bindingRows(bound, true));
    },
  };
}

/** Each key in force with the argument or policy it comes from. */
function explanation(why) {
  const settings = why.settings ?? [];
  if (!settings.length) return h("p.faint", "No argument or policy changes anything here.");
  return rows([
    { title: "Setting", cell: (s) => s.key }, { title: "Value", cell: (s) => h("code", JSON.stringify(s.value)) }, { title: "From", wide: true, cell: (s) => s.source },
  ], settings, "");
}

const MODES = [["ack_requeue_true", "Look, and put them back (marked as redelivered)"], ["ack_requeue_false", "Take them out"], ["reject_requeue_false", "Reject them: dead letters, if the queue has a place for them"]];

function take(at) {
  const found = h("div");
  const ask = form({
    fields: [{ name: "ackmode", label: "How", type: "select", options: MODES }, { name: "count", label: "How many", type: "number", value: 10 }],
    action: "Get",
    async submit({ ackmode, count: most }) {
      const messages = await post(`queues/${at}/get`, { ackmode, count: most ?? 1, encoding: "auto", truncate: 50000 });
      replace(found, messages.length ? messages.map((m) => message(m)) : h("p.faint", "No message is ready."));
      document.dispatchEvent(new Event("refresh"));
    },
  });
  return h("div", ask, found);
}
