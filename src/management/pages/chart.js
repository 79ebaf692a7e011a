// Lines over time, drawn as SVG: the broker's own samples, nothing made up between them.
import { h, replace, svg, rate as showRate, short } from "./dom.js";

const WIDTH = 560;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 18;

/** Samples of a counter as rates: [time ms, per second], oldest first. */
export function ratesOf(details) {
  const samples = (details?.samples ?? []).toSorted((a, b) => a.timestamp - b.timestamp);
  const points = [];
  for (let i = 1; i < samples.length; i += 1) {
    const seconds = (samples[i].timestamp - samples[i - 1].timestamp) / 1000;
    if (seconds > 0) points.push([samples[i].timestamp, Math.max(0, (samples[i].sample - samples[i - 1].sample) / seconds)]);
  }
  return points;
}

/** Samples of a level: [time ms, value], oldest first. */
export const levelsOf = (details) =>
  (details?.samples ?? []).map((s) => [s.timestamp, s.sample]).toSorted((a, b) => a[0] - b[0]);

/**
 * A chart that is told its series again at each refresh: chart.show([{label, points, now}]).
 * `show` formats a value of the axis and the legend.
 */
export function chart(title, show = showRate) {
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title, preserveAspectRatio: "none" });
  const legend = h("ul.legend");
  const root = h("section.card.chart", h("h3", title), plot, legend);
  let series = [];
  let cursor = null;

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    cursor = (event.clientX - box.left) / box.width * WIDTH;
    draw();
  });
  plot.addEventListener("pointerleave", () => { cursor = null; draw(); });

  function draw() {
    const times = series.flatMap((s) => s.points.map((p) => p[0]));
    const from = Math.min(...times);
    const to = Math.max(...times);
    if (times.length < 2 || from === to) {
      plot.replaceChildren(svg("text", { x: WIDTH / 2, y: HEIGHT / 2, class: "empty" }, "No samples yet"));
      replace(legend, series.map((s, i) => entry(s, i, s.now)));
      return;
    }
    const top = ceiling(Math.max(1, ...series.flatMap((s) => s.points.map((p) => p[1]))));
    const x = (time) => LEFT + (time - from) / (to - from) * (WIDTH - LEFT - 4);
    const y = (value) => 6 + (1 - value / top) * (HEIGHT - BOTTOM - 6);
    const grid = [0, 0.5, 1].map((part) => [
      svg("line", { x1: LEFT, x2: WIDTH - 4, y1: y(top * part), y2: y(top * part), class: "grid" }),
      svg("text", { x: LEFT - 5, y: y(top * part) + 3.5, class: "axis end" }, short(top * part)),
    ]);
    const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const lines = series.map((s, i) => svg("polyline", {
      class: `line s${i}`, points: s.points.map(([t, v]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join(" "),
    }));
    const at = cursor === null ? null : from + (Math.min(Math.max(cursor, LEFT), WIDTH - 4) - LEFT) / (WIDTH - LEFT - 4) * (to - from);
    const rule = at === null ? [] : [svg("line", { x1: x(at), x2: x(at), y1: 6, y2: HEIGHT - BOTTOM, class: "rule" })];
    plot.replaceChildren(...grid.flat(), ...lines, ...rule,
      svg("text", { x: LEFT, y: HEIGHT - 4, class: "axis" }, at === null ? clock(from) : ""),
      svg("text", { x: WIDTH - 4, y: HEIGHT - 4, class: "axis end" }, clock(at ?? to)));
    replace(legend, series.map((s, i) => entry(s, i, at === null ? s.now ?? s.points.at(-1)?.[1] : nearest(s.points, at))));
  }

  const entry = (s, i, value) => h("li", h(`span.key.s${i}`), `${s.label} `, h("b", show(value)));

  return {
    root,
    show(next) {
      series = next.filter((s) => s.points.length || s.now !== undefined);
      draw();
    },
  };
}

function nearest(points, time) {
  let best = points[0];
  for (const point of points) if (Math.abs(point[0] - time) < Math.abs(best[0] - time)) best = point;
  return best?.[1];
}

/** The next round number up. */
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((n) => n * unit).find((n) => n >= value);
}
