// The broker at a glance: what flows, what waits, what is wrong.
import { get } from "../api.js";
import { chart, levelsOf, ratesOf } from "../chart.js";
import { badge, bytes, count, duration, h, replace, short } from "../dom.js";
import { rows } from "../list.js";

const AGE = "lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5";

/** The rates that messages have, in the order they flow. */
export const FLOWS = [["publish", "Publish"], ["confirm", "Confirm"], ["deliver", "Deliver"], ["deliver_no_ack", "Deliver, auto ack"], ["ack", "Ack"], ["redeliver", "Redeliver"]];

/** The series of a message_stats object; those that never happened are left out. */
export const flows = (stats = {}) => FLOWS.filter(([name]) => stats[name] !== undefined)
  .map(([name, label]) => ({ label, points: ratesOf(stats[`${name}_details`]), now: stats[`${name}_details`]?.rate }));

/** The series of what is queued. */
export const depths = (totals = {}) => [["messages_ready", "Ready"], ["messages_unacknowledged", "Unacked"], ["messages", "Total"]]
  .map(([name, label]) => ({ label, points: levelsOf(totals[`${name}_details`]), now: totals[name] }));

export function overview({ body }) {
  const alarms = h("div");
  const figures = h("div.figures");
  const queued = chart("Messages queued", short);
  const rates = chart("Messages per second");
  const nodes = h("div");
  const rest = h("div.grid");
  replace(body, h("h2", "Overview"), alarms, figures, h("div.grid", queued.root, rates.root), nodes, rest);

  return {
    async refresh(signal) {
      const [o, found] = await Promise.all([get(`overview?${AGE}`, signal), get("nodes", signal).catch(() => [])]);
      replace(alarms, found.flatMap(alarmsOf).map((text) => h("p.card.alarm", { role: "alert" }, text)));
      replace(figures, [["connections", "Connections"], ["channels", "Channels"], ["consumers", "Consumers", "channels"], ["exchanges", "Exchanges"], ["queues", "Queues"]]
        .map(([name, label, page]) => h("a.figure", { href: `#/${page ?? name}` }, h("b", count(o.object_totals?.[name])), h("span", label))),
        h("div.figure", h("b", short(o.queue_totals?.messages)), h("span", "Messages")));
      queued.show(depths(o.queue_totals));
      rates.show(flows(o.message_stats));
      replace(nodes, found.map(node));
      replace(rest,
        h("section.card", h("h3", "Listens on"), rows([
          { title: "Protocol", cell: (l) => l.protocol }, { title: "Address", cell: (l) => l.ip_address }, { title: "Port", num: true, cell: (l) => String(l.port) },
        ], o.listeners ?? [], "Nothing.")),
        h("section.card", h("h3", "Version"), h("dl.pairs", [["Product", `${o.product_name ?? ""} ${o.product_version ?? ""}`], ["Speaks as RabbitMQ", o.rabbitmq_version], ["Node", o.node], ["Cluster name", o.cluster_name]]
          .filter(([, value]) => value?.trim()).map(([name, value]) => [h("dt", name), h("dd", value)]))));
    },
  };
}

function alarmsOf(n) {
  return [
    n.mem_alarm && `${n.name}: memory is low (${bytes(n.mem_used)} of ${bytes(n.mem_limit)}). Publishers are held back.`,
    n.disk_free_alarm && `${n.name}: disk space is low (${bytes(n.disk_free)} free, ${bytes(n.disk_free_limit)} wanted). Publishers are held back.`,
    n.running === false && `${n.name} does not run.`,
  ].filter(Boolean);
}

function node(n) {
  const gauge = (label, used, limit, show, alarm) => h("div", h("div.heading", h("span.faint", label), h("span", show(used), h("span.faint", ` of ${show(limit)}`))),
    typeof limit === "number" && limit > 0 ? h("progress", { max: limit, value: Math.min(used, limit), "aria-label": label }) : null, alarm ? badge("alarm", "", "bad") : null);
  return h("section.card", h("div.heading", h("h3", n.name), h("span.faint", n.uptime === undefined ? "" : `up ${duration(n.uptime)}`)),
    h("div.figures", gauge("Memory", n.mem_used, n.mem_limit, bytes, n.mem_alarm), gauge("Open files", n.fd_used, n.fd_total, count),
      typeof n.sockets_total === "number" ? gauge("Sockets", n.sockets_used, n.sockets_total, count) : null,
      h("div", h("div.heading", h("span.faint", "Disk free"), h("span", bytes(n.disk_free))), h("span.faint", `alarm below ${bytes(n.disk_free_limit)}`), n.disk_free_alarm ? badge("alarm", "", "bad") : null)));
}
