// Channels: where clients publish and consume.
import { get, part } from "../api.js";
import { chart } from "../chart.js";
import { badge, count, h, rate, replace } from "../dom.js";
import { list, rows } from "../list.js";
import { flows } from "./overview.js";

const mode = (c) => [c.confirm && badge("confirm", "Publisher confirms"), c.transactional && badge("tx", "Transactions")];

export function channels({ address, body }) {
  const all = list({
    path: () => "channels",
    key: (c) => c.name,
    open: (c) => `#/channels/${part(c.name)}`,
    empty: "No channel is open.",
    columns: [
      { title: "Channel", sort: "name", wide: true, cell: (c) => c.name },
      { title: "Vhost", sort: "vhost", cell: (c) => c.vhost },
      { title: "User", sort: "user", cell: (c) => c.user },
      { title: "Mode", cell: mode },
      { title: "Consumers", sort: "consumer_count", num: true, cell: (c) => count(c.consumer_count) },
      { title: "Prefetch", sort: "prefetch_count", num: true, cell: (c) => (c.global_prefetch_count ? `${c.prefetch_count} (${c.global_prefetch_count} shared)` : count(c.prefetch_count)) },
      { title: "Unacked", sort: "messages_unacknowledged", num: true, cell: (c) => count(c.messages_unacknowledged) },
      { title: "Unconfirmed", sort: "messages_unconfirmed", num: true, cell: (c) => count(c.messages_unconfirmed) },
      { title: "Publish", sort: "message_stats.publish_details.rate", num: true, cell: (c) => rate(c.message_stats?.publish_details?.rate) },
      { title: "Deliver", sort: "message_stats.deliver_get_details.rate", num: true, cell: (c) => rate(c.message_stats?.deliver_get_details?.rate) },
      { title: "Ack", sort: "message_stats.ack_details.rate", num: true, cell: (c) => rate(c.message_stats?.ack_details?.rate) },
    ],
  }, address);
  replace(body, h("h2", "Channels"), all.root);
  return all;
}

export function channel({ address, body }) {
  const name = address.parts[1];
  const facts = h("section.card");
  const rates = chart("Messages per second");
  const consumers = h("section");
  replace(body, h("h2", name), h("div.grid", facts, rates.root), h("h3", "Consumers"), consumers);
  return {
    async refresh(signal) {
      const c = await get(`channels/${part(name)}?msg_rates_age=600&msg_rates_incr=5`, signal);
      replace(facts, h("h3", "Facts"), h("dl.pairs", [
        ["Connection", c.connection_details?.name && h("a", { href: `#/connections/${part(c.connection_details.name)}` }, c.connection_details.name)],
        ["User", c.user], ["Vhost", c.vhost], ["State", c.state], ["Mode", mode(c)], ["Prefetch", `${c.prefetch_count ?? 0} a consumer, ${c.global_prefetch_count ?? 0} shared`],
        ["Unacked", count(c.messages_unacknowledged)], ["Unconfirmed", count(c.messages_unconfirmed)], ["Uncommitted", count(c.messages_uncommitted)], ["Acks uncommitted", count(c.acks_uncommitted)],
      ].filter(([, value]) => value).map(([label, value]) => [h("dt", label), h("dd", value)])));
      rates.show(flows(c.message_stats));
      replace(consumers, rows([
        { title: "Tag", wide: true, cell: (x) => x.consumer_tag },
        { title: "Queue", cell: (x) => h("a", { href: `#/queues/${part(x.queue.vhost)}/${part(x.queue.name)}` }, x.queue.name) },
        { title: "Ack", cell: (x) => (x.ack_required ? "manual" : "automatic") }, { title: "Prefetch", num: true, cell: (x) => count(x.prefetch_count) },
        { title: "Exclusive", cell: (x) => (x.exclusive ? "●" : "") },
      ], c.consumer_details ?? [], "Nothing is consumed here."));
    },
  };
}
