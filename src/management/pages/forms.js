// Forms, dialogs and short messages.
import { h } from "./dom.js";

/**
 * A form: fields [{name, label, type: text|password|number|select|check|area, options, value, hint, required}].
 * `submit(values)` does the work; what it throws is shown beside the button. With `keep` the fields stay as they were filled.
 */
export function form({ title, fields, action, submit, danger, keep }) {
  const fault = h("p.fault", { role: "alert" });
  const inputs = Object.fromEntries(fields.map((field) => [field.name, input(field)]));
  const button = h(`button.primary${danger ? ".danger" : ""}`, { type: "submit" }, action);
  const root = h("form.card.form", {
    async onsubmit(event) {
      event.preventDefault();
      fault.textContent = "";
      button.disabled = true;
      try {
        await submit(Object.fromEntries(fields.map((field) => [field.name, valueOf(field, inputs[field.name])])));
        if (!keep) root.reset();
      } catch (problem) {
        fault.textContent = problem.message;
      } finally {
        button.disabled = false;
      }
    },
  }, title && h("h3", title), h("div.fields", fields.map((field) => h(`label.field${field.type === "check" ? ".check" : ""}${field.type === "area" ? ".wide" : ""}`,
    h("span", field.label), inputs[field.name], field.hint && h("small.faint", field.hint)))), h("div.actions", button, fault));
  return root;
}

function input(field) {
  const common = { name: field.name, required: field.required, "data-key": `field-${field.name}` };
  switch (field.type) {
    case "select":
      return h("select", common, field.options.map((o) => {
        const [value, label] = Array.isArray(o) ? o : [o, o];
        return h("option", { value, selected: value === field.value }, label);
      }));
    case "check":
      return h("input", { ...common, type: "checkbox", checked: field.value === true });
    case "area":
      return h("textarea", { ...common, rows: "4", spellcheck: "false" }, field.value ?? "");
    default:
      return h("input", { ...common, type: field.type ?? "text", value: field.value === undefined ? "" : String(field.value), autocomplete: field.type === "password" ? "new-password" : "off", spellcheck: "false", list: field.list });
  }
}

function valueOf(field, element) {
  if (field.type === "check") return element.checked;
  if (field.type === "number") return element.value === "" ? undefined : Number(element.value);
  return element.value;
}

/** A table of AMQP arguments as people write them: `name = value` on lines, values as JSON or plain text. */
export function parseArguments(text) {
  const table = {};
  for (const line of text.split("\n").map((l) => l.trim()).filter(Boolean)) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`“${line}”: write name = value`);
    const value = line.slice(at + 1).trim();
    try { table[line.slice(0, at).trim()] = JSON.parse(value); } catch { table[line.slice(0, at).trim()] = value; }
  }
  return table;
}

/** Asks before something that can't be taken back. Resolves to whether to go on. */
export function confirm(question, detail, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": question },
      h("form", { method: "dialog" }, h("h3", question), detail && h("p", detail),
        h("div.actions", h("button.primary.danger", { value: "yes" }, action), h("button", { value: "no", autofocus: true }, "Cancel"))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A dialog that shows something until it is closed. */
export function show(title, ...content) {
  const dialog = h("dialog.large", { "aria-label": title }, h("form", { method: "dialog" },
    h("div.heading", h("h3", title), h("button", { value: "close", "aria-label": "Close" }, "✕")), content));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A line at the edge of the window that goes away by itself. */
export function say(text, kind = "good") {
  const line = h(`p.toast.${kind}`, { role: "status" }, text);
  toasts().append(line);
  setTimeout(() => line.remove(), 5000);
}

function toasts() {
  return document.querySelector(".toasts") ?? document.body.appendChild(h("div.toasts"));
}

/** A button that does something with the broker, says how it went, and refreshes the page. */
export function act(label, work, { done, sure, kind = "", title } = {}) {
  const button = h(`button${kind && `.${kind}`}`, {
    type: "button", title, "data-key": `act-${label}`,
    async onclick() {
      if (sure && !(await confirm(sure.question, sure.detail, sure.action ?? label))) return;
      button.disabled = true;
      try {
        await work();
        if (done) say(done);
        document.dispatchEvent(new Event("refresh"));
      } catch (problem) {
        say(problem.message, "bad");
      } finally {
        button.disabled = false;
      }
    },
  }, label);
  return button;
}
