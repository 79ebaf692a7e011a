// A list whose pages, order and filter are made by the broker: 100,000 rows cost the browser one page.
import { get, query } from "./api.js";
import { count, h, replace } from "./dom.js";

const PAGE_SIZES = [25, 50, 100, 250, 500];

/**
 * columns: [{title, sort: "field to sort by", cell: row => child, num: true, wide: true}]
 * options: {path: () => "queues", columns, key: row => string, open: row => hash, empty: text, extra: {…query}}
 * State lives in the address, so that a page can be kept, shared and gone back to.
 */
export function list(options, state) {
  const body = h("tbody");
  const summary = h("span.faint", { role: "status" });
  const pager = h("nav.pager", { "aria-label": "Pages" });
  const search = h("input", {
    type: "search", placeholder: "Filter by name  ( / )", "data-key": "search", value: state.get("name") ?? "",
    "aria-label": "Filter by name", autocomplete: "off", spellcheck: "false",
  });
  const regex = h("input", { type: "checkbox", checked: state.get("use_regex") === "true" });
  let timer;
  const filter = () => state.set({ name: search.value, use_regex: regex.checked ? "true" : "", page: "" });
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 250); });
  regex.addEventListener("change", filter);

  const head = h("tr");
  const root = h("div.list",
    h("div.toolbar", search, h("label.check", regex, "regex"), summary, h("span.space"), pager),
    h("div.scroll", h("table.rows", h("thead", head), body)));

  root.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[tabindex]");
    if (!row) return;
    if (event.key === "ArrowDown") row.nextElementSibling?.focus();
    else if (event.key === "ArrowUp") row.previousElementSibling?.focus();
    else if (event.key === "Enter" && event.target === row) location.hash = row.dataset.open;
    else return;
    event.preventDefault();
  });
  root.addEventListener("click", (event) => {
    if (event.target.closest("a, button, input, label")) return;
    const row = event.target.closest("tr[tabindex]");
    if (row) location.hash = row.dataset.open;
  });

  function heads() {
    const by = state.get("sort");
    const reversed = state.get("sort_reverse") === "true";
    replace(head, options.columns.map((column) => {
      const sorted = column.sort && column.sort === by;
      const order = sorted ? (reversed ? "descending" : "ascending") : undefined;
      const turn = () => state.set({ sort: column.sort, sort_reverse: sorted && !reversed ? "true" : "", page: "" });
      return h(`th${column.num ? ".num" : ""}`, { "aria-sort": order },
        column.sort ? h("button.sort", { onclick: turn, "data-key": `sort-${column.sort}` }, column.title, order ? (reversed ? " ↓" : " ↑") : "") : column.title);
    }));
  }

  function pages(answer) {
    const page = answer.page ?? 1;
    const last = Math.max(1, answer.page_count ?? 1);
    const go = (to) => () => state.set({ page: to === 1 ? "" : String(to) });
    const button = (label, to, title) => h("button", { disabled: to < 1 || to > last || to === page, onclick: go(to), title, "data-key": title }, label);
    const size = h("select", { "aria-label": "Rows on a page", "data-key": "page-size", onchange: () => state.set({ page_size: size.value, page: "" }) },
      PAGE_SIZES.map((n) => h("option", { value: String(n), selected: n === pageSize() }, String(n))));
    replace(pager, button("«", 1, "First page"), button("‹", page - 1, "Previous page"), h("span", `${page} of ${count(last)}`),
      button("›", page + 1, "Next page"), button("»", last, "Last page"), size);
  }

  const pageSize = () => Number(state.get("page_size") ?? 50);

  return {
    root,
    async refresh(signal) {
      const answer = await get(options.path() + query({
        page: state.get("page") ?? "1", page_size: String(pageSize()), name: state.get("name"), use_regex: state.get("use_regex"),
        sort: state.get("sort"), sort_reverse: state.get("sort_reverse"), pagination: "true", ...options.extra,
      }), signal);
      const rows = Array.isArray(answer) ? answer : answer.items;
      const paged = Array.isArray(answer) ? { page: 1, page_count: 1, filtered_count: rows.length, total_count: rows.length } : answer;
      heads();
      pages(paged);
      summary.textContent = paged.filtered_count === paged.total_count
        ? `${count(paged.total_count)} in all` : `${count(paged.filtered_count)} of ${count(paged.total_count)}`;
      replace(body, rows.length
        ? rows.map((row) => h("tr", rowOf(options, row), options.columns.map((c) => h(`td${c.num ? ".num" : ""}${c.wide ? ".wide" : ""}`, c.cell(row)))))
        : h("tr", h("td.none", { colspan: String(options.columns.length) }, paged.total_count ? "Nothing matches the filter." : options.empty)));
    },
  };
}

function rowOf(options, row) {
  if (!options.open) return {};
  return { tabindex: "0", "data-open": options.open(row), "data-key": `row-${options.key(row)}` };
}

/** A short list that is there as a whole. */
export function rows(columns, items, empty) {
  return h("div.scroll", h("table.rows",
    h("thead", h("tr", columns.map((c) => h(`th${c.num ? ".num" : ""}`, c.title)))),
    h("tbody", items.length
      ? items.map((item) => h("tr", columns.map((c) => h(`td${c.num ? ".num" : ""}${c.wide ? ".wide" : ""}`, c.cell(item)))))
      : h("tr", h("td.none", { colspan: String(columns.length) }, empty)))));
}
