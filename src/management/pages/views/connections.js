// Who is connected.
import { get, part, remove } from "../api.js";
import { chart, ratesOf } from "../chart.js";
import { badge, bytes, count, h, moment, replace, table } from "../dom.js";
import { act } from "../forms.js";
import { list, rows } from "../list.js";

const state = (s) => badge(s ?? "?", "", { running: "good", blocked: "bad", blocking: "warn", flow: "warn" }[s]);
const traffic = (d) => (typeof d?.rate === "number" ? `${bytes(d.rate)}/s` : "–");

export function connections({ address, body }) {
  const all = list({
    path: () => "connections",
    key: (c) => c.name,
    open: (c) => `#/connections/${part(c.name)}`,
    empty: "Nobody is connected.",
    columns: [
      { title: "Name", sort: "name", wide: true, cell: (c) => [c.name, c.user_provided_name && h("div.faint", c.user_provided_name)] },
      { title: "Vhost", sort: "vhost", cell: (c) => c.vhost },
      { title: "User", sort: "user", cell: (c) => c.user },
      { title: "State", sort: "state", cell: (c) => state(c.state) },
      { title: "TLS", sort: "ssl", cell: (c) => (c.ssl ? "●" : "") },
      { title: "Client", cell: (c) => [c.client_properties?.product, c.client_properties?.version].filter(Boolean).join(" ") },
      { title: "Channels", sort: "channels", num: true, cell: (c) => count(c.channels) },
      { title: "From client", sort: "recv_oct_details.rate", num: true, cell: (c) => traffic(c.recv_oct_details) },
      { title: "To client", sort: "send_oct_details.rate", num: true, cell: (c) => traffic(c.send_oct_details) },
    ],
  }, address);
  replace(body, h("h2", "Connections"), all.root);
  return all;
}

export function connection({ address, body }) {
  const name = address.parts[1];
  const path = `connections/${part(name)}`;
  const facts = h("section.card");
  const octets = chart("Octets per second", (n) => (typeof n === "number" ? `${bytes(n)}/s` : "–"));
  const inside = h("section");
  replace(body, h("div.heading", h("h2", name),
    act("Close connection", () => remove(path).then(() => { location.hash = "#/connections"; }), { kind: "danger", done: "The connection is closed.", sure: { question: "Close this connection?", detail: `${name}. Its unacked messages go back to their queues; most clients connect again.`, action: "Close it" } })),
  h("div.grid", facts, octets.root), h("h3", "Channels"), inside);
  return {
    async refresh(signal) {
      const [c, channels] = await Promise.all([get(`${path}?data_rates_age=600&data_rates_incr=5`, signal), get(`${path}/channels`, signal)]);
      replace(facts, h("h3", "Facts"), h("dl.pairs", [
        ["State", state(c.state)], ["Name given", c.user_provided_name], ["User", c.user], ["Vhost", c.vhost], ["Protocol", c.protocol], ["Since", moment(c.connected_at)], ["Heartbeat", c.timeout ? `${c.timeout} s` : "none"],
        ["Largest frame", bytes(c.frame_max)], ["TLS", c.ssl ? [c.ssl_protocol, c.ssl_cipher].filter(Boolean).join(", ") || "yes" : "no"], ["Peer certificate", c.peer_cert_subject], ["Mechanism", c.auth_mechanism],
        ["Client", table(c.client_properties)],
      ].filter(([, value]) => value).map(([label, value]) => [h("dt", label), h("dd", value)])));
      octets.show([["recv_oct", "From client"], ["send_oct", "To client"]].map(([key, label]) => ({ label, points: ratesOf(c[`${key}_details`]), now: c[`${key}_details`]?.rate })));
      replace(inside, rows([
        { title: "Channel", cell: (x) => h("a", { href: `#/channels/${part(x.name)}` }, String(x.number)) }, { title: "State", cell: (x) => state(x.state) },
        { title: "Consumers", num: true, cell: (x) => count(x.consumer_count) }, { title: "Prefetch", num: true, cell: (x) => count(x.prefetch_count) },
        { title: "Unacked", num: true, cell: (x) => count(x.messages_unacknowledged) }, { title: "Unconfirmed", num: true, cell: (x) => count(x.messages_unconfirmed) },
      ], channels, "No channel is open."));
    },
  };
}
