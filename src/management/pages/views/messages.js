// The messages that wait in a queue: looked at, found, dropped and moved, without a consumer.
import { get, part, post, query, remove } from "../api.js";
import { badge, bytes, count, exchangeName, h, replace, table } from "../dom.js";
import { act, form, say } from "../forms.js";

const PAGE = 20;
const TRUNCATE = 50000;

/** A message as it was received or looked at; `more` stands beside its first line. */
export function message(m, ...more) {
  return h("article.message",
    h("div.heading", h("div", m.redelivered && badge("redelivered", "", "warn"), h("span.faint", `${exchangeName(m.exchange)} → `), h("code", m.routing_key), h("span.faint", ` ${bytes(m.payload_bytes)}`), m.in_queue_since && h("span.faint", ` since ${m.in_queue_since}`)), h("div.actions", more)),
    table(m.properties), h("pre", m.payload_encoding === "base64" ? `(base64) ${m.payload}` : m.payload));
}

/** Looks through a queue: page by page, or for a text. */
export function browse(at) {
  const path = `warren/queues/${at}`;
  const found = h("div");
  let asked = {};
  let known = [];

  const show = (answer) => {
    known.push(...answer.messages);
    const dropped = (m) => act("Drop", () => remove(`${path}/messages/${part(m.id)}`).then(() => { known = known.filter((other) => other.id !== m.id); paint(answer); }),
      { kind: "danger", done: "The message is gone.", sure: { question: "Drop this message?", detail: "It is neither delivered nor dead-lettered.", action: "Drop it" } });
    const paint = (last) => replace(found,
      known.map((m) => message(m, act("Move", () => moveOne(path, m.id)), dropped(m))),
      !known.length && h("p.faint", asked.search ? "None so far has it." : "No message is ready."),
      last.next !== null && h("div.actions", act("Look on", async () => show(await look(last.next))), h("span.faint", `${count(last.examined)} looked at`)));
    paint(answer);
  };
  const look = (from) => get(`${path}/messages${query({ ...asked, from, count: PAGE, truncate: TRUNCATE })}`);

  const ask = form({
    fields: [{ name: "search", label: "With this text", hint: "In body, properties, routing key or exchange; empty: all" }, { name: "use_regex", label: "It is a regular expression", type: "check" }, { name: "skip", label: "Pass over so many", type: "number", value: 0 }],
    action: "Look",
    keep: true,
    async submit({ search, use_regex, skip }) {
      asked = { search, use_regex: use_regex || undefined };
      known = [];
      show(await get(`${path}/messages${query({ ...asked, skip: skip || undefined, count: PAGE, truncate: TRUNCATE })}`));
    },
  });
  return h("div", ask, found);
}

/** Moves one message; asks where to. */
async function moveOne(path, id) {
  const to = await target();
  if (to === null) return;
  const answer = await post(`${path}/move`, { ...to, id });
  if (answer.full) throw new Error(`Queue ${answer.full} is full.`);
  if (!answer.moved) throw new Error(answer.unroutable ? "It would reach no queue there: it stays." : "It is not there any more.");
  say("Moved.");
}

function target() {
  return new Promise((resolve) => {
    const queue = h("input", { name: "to_queue", required: true, autocomplete: "off" });
    const dialog = h("dialog", { "aria-label": "Move to" },
      h("form", { method: "dialog" }, h("h3", "Move to which queue?"), h("label.field", h("span", "Queue"), queue),
        h("div.actions", h("button.primary", { value: "yes" }, "Move"), h("button", { value: "no", formNoValidate: true }, "Cancel"))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes" ? { to_queue: queue.value } : null); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Moves many: goes on until the end of the queue, a count, or a full queue. */
export function moveForm(at) {
  return form({
    fields: [{ name: "kind", label: "To a", type: "select", options: [["to_queue", "queue"], ["to_exchange", "exchange"]] }, { name: "target", label: "Name", required: true }, { name: "routing_key", label: "Routing key", hint: "Of an exchange; empty: each its own" },
      { name: "count", label: "At most", type: "number", hint: "Empty: all" }, { name: "search", label: "Only with this text" }, { name: "use_regex", label: "It is a regular expression", type: "check" }, { name: "copy", label: "Leave them here, too", type: "check" }],
    action: "Move",
    async submit({ kind, target: name, routing_key, count: most, search, use_regex, copy }) {
      const body = { [kind]: name, copy, use_regex, search: search || undefined, routing_key: kind === "to_exchange" && routing_key !== "" ? routing_key : undefined };
      let moved = 0;
      let unroutable = 0;
      let answer = { next: undefined };
      do {
        answer = await post(`warren/queues/${at}/move`, { ...body, from: answer.next, count: most === undefined ? undefined : most - moved });
        moved += answer.moved;
        unroutable += answer.unroutable;
      } while (answer.next !== null && !answer.full && (most === undefined || moved < most));
      document.dispatchEvent(new Event("refresh"));
      if (answer.full) throw new Error(`${count(moved)} moved; queue ${answer.full} is full.`);
      if (unroutable) throw new Error(`${count(moved)} moved; ${count(unroutable)} would reach no queue and stay.`);
      say(`${count(moved)} moved.`);
    },
  });
}
