// Definitions: users, vhosts, queues and all else but messages, as RabbitMQ's JSON.
import { get, part, post } from "../api.js";
import { h, replace } from "../dom.js";
import { form, say } from "../forms.js";

export function definitions({ body }) {
  const scope = h("select", { "aria-label": "What to export" }, h("option", { value: "" }, "everything"));
  const download = h("button.primary", {
    async onclick() {
      try {
        const path = scope.value === "" ? "definitions" : `definitions/${part(scope.value)}`;
        const text = JSON.stringify(await get(path), null, 2);
        const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: `warren-definitions-${new Date().toISOString().slice(0, 10)}.json` });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      } catch (fault) { say(fault.message, "bad"); }
    },
  }, "Export");
  const file = h("input", { type: "file", accept: ".json,application/json", "aria-label": "A file of definitions" });
  const upload = form({
    fields: [{ name: "vhost", label: "Into one vhost", hint: "empty: a file of the whole broker" }],
    action: "Import",
    async submit({ vhost }) {
      const [chosen] = file.files;
      if (!chosen) throw new Error("Choose a file first.");
      let value;
      try { value = JSON.parse(await chosen.text()); } catch (fault) { throw new Error(`${chosen.name} is not JSON: ${fault.message}`); }
      await post(vhost ? `definitions/${part(vhost)}` : "definitions", value);
      say(`${chosen.name} is imported.`);
    },
  });
  upload.prepend(file);
  replace(body, h("h2", "Definitions"),
    h("section.card", h("h3", "Export"), h("p.faint", "Users with their password hashes, vhosts, permissions, policies, parameters, exchanges, queues and bindings. No messages."), h("div.toolbar", scope, download)),
    h("section.card", h("h3", "Import"), h("p.faint", "A file that Warren or RabbitMQ exported. What exists already is left as it is; a file with a fault changes nothing."), upload));
  let known = false;
  return {
    async refresh(signal) {
      if (known) return;
      const found = await get("vhosts?columns=name", signal);
      replace(scope, h("option", { value: "" }, "everything"), (found.items ?? found).map((v) => h("option", { value: v.name }, `vhost ${v.name}`)));
      known = true;
    },
  };
}
