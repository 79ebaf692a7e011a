// Exchanges: where messages come in, and where they go from there.
import { get, part, post, put, remove } from "../api.js";
import { chart, ratesOf } from "../chart.js";
import { badge, exchangeName, h, rate, replace, table } from "../dom.js";
import { act, form, parseArguments, say } from "../forms.js";
import { list, rows } from "../list.js";

const TYPES = ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message", "x-modulus-hash", "x-random", "x-local-random", "x-recent-history"];

export const features = (x) => [
  x.durable && badge("D", "Durable: survives a restart"), x.auto_delete && badge("AD", "Auto-delete"), x.internal && badge("I", "Internal: only exchanges publish to it"),
  x.arguments && Object.keys(x.arguments).length > 0 && badge("Args", JSON.stringify(x.arguments)), x.policy && badge(x.policy, "Policy"),
];

export const address = (vhost, name) => `${part(vhost)}/${part(name === "" ? "amq.default" : name)}`;

export function exchanges({ address: state, body }) {
  const all = list({
    path: () => "exchanges",
    key: (x) => `${x.vhost}/${x.name}`,
    open: (x) => `#/exchanges/${address(x.vhost, x.name)}`,
    empty: "There is no exchange.",
    columns: [
      { title: "Vhost", sort: "vhost", cell: (x) => x.vhost },
      { title: "Name", sort: "name", wide: true, cell: (x) => exchangeName(x.name) },
      { title: "Type", sort: "type", cell: (x) => x.type },
      { title: "Features", cell: features },
      { title: "In", sort: "message_stats.publish_in_details.rate", num: true, cell: (x) => rate(x.message_stats?.publish_in_details?.rate) },
      { title: "Out", sort: "message_stats.publish_out_details.rate", num: true, cell: (x) => rate(x.message_stats?.publish_out_details?.rate) },
    ],
  }, state);
  const add = form({
    fields: [{ name: "vhost", label: "Vhost", value: "/", required: true }, { name: "name", label: "Name", required: true }, { name: "type", label: "Type", type: "select", options: TYPES },
      { name: "durable", label: "Durable", type: "check", value: true }, { name: "auto_delete", label: "Auto-delete", type: "check" }, { name: "internal", label: "Internal", type: "check" },
      { name: "arguments", label: "Arguments", type: "area", hint: "One a line: alternate-exchange = unrouted" }],
    action: "Add exchange",
    async submit({ vhost, name, arguments: text, ...rest }) {
      await put(`exchanges/${part(vhost)}/${part(name)}`, { ...rest, arguments: parseArguments(text) });
      say(`Exchange ${name} is there.`);
      document.dispatchEvent(new Event("refresh"));
    },
  });
  replace(body, h("h2", "Exchanges"), all.root, h("details.card", h("summary", "Add an exchange"), add));
  return all;
}

export function exchange({ address: state, body }) {
  const [, vhost, given] = state.parts;
  const name = given === "amq.default" ? "" : given;
  const path = `exchanges/${address(vhost, name)}`;
  const facts = h("section.card");
  const rates = chart("Messages per second");
  const bindings = h("section");
  const removable = name !== "" && !name.startsWith("amq.");
  replace(body,
    h("div.heading", h("h2", exchangeName(name)), removable && act("Delete exchange", () => remove(path).then(() => { location.hash = "#/exchanges"; }),
      { kind: "danger", done: "The exchange is deleted.", sure: { question: `Delete exchange ${name}?`, detail: "Its bindings go with it.", action: "Delete it" } })),
    h("div.grid", facts, rates.root), h("h3", "Bindings"), bindings,
    name !== "" && h("details.card", h("summary", "Add a binding from here"), bindForm(vhost, name)),
    h("details.card", h("summary", "Where would a message go?"), routeForm(vhost, name)),
    h("details.card", h("summary", "Publish a message"), publishForm(vhost, name)));
  return {
    async refresh(signal) {
      const [x, from, to] = await Promise.all([get(`${path}?msg_rates_age=600&msg_rates_incr=5`, signal), get(`${path}/bindings/source`, signal), get(`${path}/bindings/destination`, signal)]);
      replace(facts, h("h3", "Facts"), h("dl.pairs", [["Type", x.type], ["Vhost", x.vhost], ["Features", features(x)], ["Policy", x.policy], ["Arguments", table(x.arguments)]]
        .filter(([, value]) => value).map(([label, value]) => [h("dt", label), h("dd", value)])));
      rates.show([["publish_in", "In"], ["publish_out", "Out"]].filter(([key]) => x.message_stats?.[key] !== undefined)
        .map(([key, label]) => ({ label, points: ratesOf(x.message_stats[`${key}_details`]), now: x.message_stats[`${key}_details`]?.rate })));
      replace(bindings, bindingRows([...to, ...from], name !== ""));
    },
  };
}

/** Bindings with their two ends, and a way to undo each. */
export function bindingRows(items, removable) {
  const end = (kind, vhost, name) => h("a", { href: kind === "queue" ? `#/queues/${part(vhost)}/${part(name)}` : `#/exchanges/${address(vhost, name)}` }, exchangeName(name));
  return rows([
    { title: "From", cell: (b) => end("exchange", b.vhost, b.source) },
    { title: "Routing key", wide: true, cell: (b) => h("code", b.routing_key) },
    { title: "Arguments", wide: true, cell: (b) => table(b.arguments) },
    { title: "To", cell: (b) => [badge(b.destination_type), end(b.destination_type, b.vhost, b.destination)] },
    { title: "", cell: (b) => (removable && b.source !== "" ? act("Unbind", () => remove(`bindings/${part(b.vhost)}/e/${part(b.source)}/${b.destination_type[0]}/${part(b.destination)}/${part(b.properties_key)}`),
      { kind: "danger", done: "The binding is gone.", sure: { question: "Remove this binding?", detail: `${exchangeName(b.source)} → ${b.destination}, key “${b.routing_key}”`, action: "Unbind" } }) : "") },
  ], items, "There is no binding.");
}

function bindForm(vhost, source) {
  return form({
    fields: [{ name: "kind", label: "To a", type: "select", options: [["q", "queue"], ["e", "exchange"]] }, { name: "destination", label: "Name", required: true }, { name: "routing_key", label: "Routing key" }, { name: "arguments", label: "Arguments", type: "area" }],
    action: "Bind",
    async submit({ kind, destination, routing_key, arguments: text }) {
      await post(`bindings/${part(vhost)}/e/${part(source)}/${kind}/${part(destination)}`, { routing_key, arguments: parseArguments(text) });
      say("Bound.");
      document.dispatchEvent(new Event("refresh"));
    },
  });
}

/** Publishes by hand. `routingKey` is what it is with the default exchange: the queue's name. */
export function publishForm(vhost, name, routingKey = "") {
  return form({
    fields: [{ name: "routing_key", label: "Routing key", value: routingKey }, { name: "persistent", label: "Persistent", type: "check", value: true }, { name: "headers", label: "Headers", type: "area", hint: "One a line: name = value" },
      { name: "properties", label: "Properties", type: "area", hint: "content_type = application/json, priority = 5, expiration = \"60000\" …" }, { name: "payload", label: "Payload", type: "area" }],
    action: "Publish",
    async submit({ routing_key, persistent, headers, properties, payload }) {
      const answer = await post(`exchanges/${address(vhost, name)}/publish`, {
        routing_key, payload, payload_encoding: "string", properties: { ...parseArguments(properties), delivery_mode: persistent ? 2 : 1, headers: parseArguments(headers) },
      });
      if (!answer.routed) throw new Error("Published, but it went to no queue.");
      say("Published.");
      document.dispatchEvent(new Event("refresh"));
    },
  });
}

/** Asks for the way of a message that is not sent. */
function routeForm(vhost, name) {
  const found = h("div");
  const ask = form({
    fields: [{ name: "routing_key", label: "Routing key" }, { name: "headers", label: "Headers", type: "area", hint: "One a line: name = value" }],
    action: "Explain",
    keep: true,
    async submit({ routing_key, headers }) {
      const way = await post(`warren/exchanges/${address(vhost, name)}/route`, { routing_key, properties: { headers: parseArguments(headers) } });
      const queue = (to) => h("a", { href: `#/queues/${part(vhost)}/${part(to)}` }, to);
      replace(found,
        h("p", way.queues.length ? ["It reaches ", way.queues.map((to, n) => [n > 0 && ", ", queue(to)])] : "It reaches no queue."),
        way.steps.map((step) => h("article.message",
          h("div", h("b", step.exchange), ` (${step.type}) `, badge(step.came_by), step.by_chance && badge("by chance", "Another time it may be another"), step.held_back && badge("held back", "Until its delay is over", "warn"), h("span.faint", ` ${step.passed.length} of ${step.bindings} bindings`),
            step.alternate_exchange && badge(`alternate exchange ${step.alternate_exchange.name}: ${step.alternate_exchange.is}`)),
          step.passed.length > 0 && rows([
            { title: "Binding key", cell: (b) => h("code", b.routing_key) }, { title: "Arguments", wide: true, cell: (b) => table(b.arguments) }, { title: "To", cell: (b) => [badge(b.destination_type), b.destination_type === "queue" ? queue(b.destination) : b.destination] }, { title: "For key", cell: (b) => b.keys.join(", ") },
          ], step.passed, ""))));
    },
  });
  return h("div", ask, found);
}
