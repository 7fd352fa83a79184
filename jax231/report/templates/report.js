"use strict";
// Draws the figures embedded as JSON. Traces hold losses; `view` says whether they are shown as such or as relative gaps.
(() => {
  const looks = JSON.parse(document.getElementById("looks").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paints = {
    light: { text: "#3a4450", grid: "#e6e9ed", axis: "#aab3bd", target: "#7b8794" },
    dark: { text: "#b9c4cf", grid: "#2a323b", axis: "#56626e", target: "#8793a0" },
  };
  const state = { view: "gap", hidden: new Set(), theme: dark.matches ? "dark" : "light", paper: false };
  const plots = [...document.querySelectorAll(".plot")].map((box) => ({
    box,
    figure: JSON.parse(box.querySelector("script").textContent),
  }));

  // A colour "#rrggbb" with an opacity, for bands.
  const faint = (color, share) => color + Math.round(255 * share).toString(16).padStart(2, "0");

  function toView(values, meta) {
    const span = meta.start - meta.best;
    const clip = (gap) => Math.min(Math.max(gap, meta.floor), meta.ceiling);
    const gaps = values.map((loss) => clip((loss - meta.best) / span));
    return state.view === "gap" ? gaps : gaps.map((gap, i) => Math.min(values[i], meta.best + meta.ceiling * span));
  }

  function trace(original, meta) {
    const { optimizer, part } = original.meta;
    const color = looks[optimizer][state.theme];
    const painted = { ...original, y: toView(original.y, meta), visible: !state.hidden.has(optimizer) };
    if (original.line) painted.line = { ...original.line, color };
    if (original.marker) painted.marker = { ...original.marker, color };
    if (part === "high") painted.fillcolor = faint(color, state.theme === "dark" ? 0.18 : 0.13);
    return painted;
  }

  function layout({ layout: base }, width, height) {
    const { meta } = base;
    const paint = paints[state.theme];
    const size = state.paper ? 9 : 12;
    const axis = { gridcolor: paint.grid, linecolor: paint.axis, showline: true, ticks: "outside", tickcolor: paint.axis, zeroline: false };
    const at = (gap) => (state.view === "gap" ? gap : meta.best + gap * (meta.start - meta.best));
    const targets = Object.entries(meta.targets);
    const range = state.view === "gap" ? [Math.log10(meta.floor) - 0.08, Math.log10(meta.ceiling)] : undefined;
    const wide = state.view === "gap" ? { dtick: 1 } : { dtick: "D2" };
    return {
      ...base,
      width, height, autosize: width === undefined,
      margin: state.paper ? { l: 30, r: 26, t: 22, b: 32 } : base.margin,
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif", size, color: paint.text },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { font: { size: 13 }, align: "left" },
      xaxis: { ...axis, ...base.xaxis },
      yaxis: { ...axis, ...base.yaxis, ...wide, range, autorange: range === undefined,
},
      shapes: targets.map(([, gap]) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: at(gap), y1: at(gap), layer: "below",
        line: { width: 1.2, dash: "3px,3px", color: paint.target } })),
      annotations: [
        { text: state.view === "gap" ? "relative gap" : "training loss", xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left",
          yanchor: "bottom", showarrow: false, xshift: -base.margin.l / 2, yshift: 4 },
        ...targets.map(([text, gap]) => ({ text, xref: "paper", x: 1, xanchor: "left", y: Math.log10(at(gap)), yanchor: "middle",
          showarrow: false, font: { size: size - 2, color: paint.target } })),
      ],
    };
  }

  function draw({ box, figure }, width, height) {
    const traces = figure.data.map((one) => trace(one, figure.layout.meta));
    return Plotly.react(box, traces, layout(figure, width, height), { responsive: true, displaylogo: false, displayModeBar: false });
  }
  const drawAll = () => plots.forEach((plot) => draw(plot));

  document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    state.view = button.dataset.view;
    document.body.dataset.view = state.view;
    document.querySelectorAll("button[data-view]").forEach((other) => other.setAttribute("aria-pressed", other.dataset.view === state.view));
    drawAll();
  }));
  document.querySelectorAll("[data-optimizer]").forEach((button) => button.addEventListener("click", () => {
    const { optimizer } = button.dataset;
    if (!state.hidden.delete(optimizer)) state.hidden.add(optimizer);
    document.querySelectorAll("[data-optimizer]").forEach((other) => {
      if (other.dataset.optimizer === optimizer) other.setAttribute("aria-pressed", !state.hidden.has(optimizer));
    });
    drawAll();
  }));
  dark.addEventListener("change", () => {
    state.theme = dark.matches ? "dark" : "light";
    drawAll();
  });

  // Paper is light, has no window to measure, and shows what is folded away on the screen.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
    Object.assign(state, { theme: "light", paper: true });
    const sheet = 700;
    plots.forEach((plot) => {
      const columns = plot.box.parentElement.children.length;
      draw(plot, Math.floor(sheet / columns) - 8, 230);
    });
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((one) => { one.open = false; });
    Object.assign(state, { theme: dark.matches ? "dark" : "light", paper: false });
    drawAll();
    plots.forEach(({ box }) => Plotly.Plots.resize(box));
  });
  plots.forEach(({ box }) => box.querySelector("script").remove());
  drawAll();
})();
