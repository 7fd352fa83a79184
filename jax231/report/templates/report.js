// A comparison: traces hold losses; `view` says whether they are shown as such or as relative gaps.
(() => {
  const looks = JSON.parse(document.getElementById("looks").textContent);
  const { state, paints } = page;
  Object.assign(state, { view: "gap", hidden: new Set() });

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

  function layout({ layout: base }) {
    const { meta } = base;
    const paint = paints[state.theme];
    const at = (gap) => (state.view === "gap" ? gap : meta.best + gap * (meta.start - meta.best));
    const targets = Object.entries(meta.targets);
    const range = state.view === "gap" ? [Math.log10(meta.floor) - 0.08, Math.log10(meta.ceiling)] : undefined;
    const wide = state.view === "gap" ? { dtick: 1 } : { dtick: "D2" };
    return {
      xaxis: { ...page.axis(), ...base.xaxis },
      yaxis: { ...page.axis(), ...base.yaxis, ...wide, range, autorange: range === undefined },
      shapes: targets.map(([, gap]) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: at(gap), y1: at(gap), layer: "below",
        line: { width: 1.2, dash: "3px,3px", color: paint.target } })),
      annotations: [
        page.heading(state.view === "gap" ? "relative gap" : "training loss", base),
        ...targets.map(([text, gap]) => ({ text, xref: "paper", x: 1, xanchor: "left", y: Math.log10(at(gap)), yanchor: "middle",
          showarrow: false, font: { size: page.size() - 2, color: paint.target } })),
      ],
    };
  }

  document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    state.view = button.dataset.view;
    document.body.dataset.view = state.view;
    document.querySelectorAll("button[data-view]").forEach((other) => other.setAttribute("aria-pressed", other.dataset.view === state.view));
    page.drawAll();
  }));
  document.querySelectorAll("[data-optimizer]").forEach((button) => button.addEventListener("click", () => {
    const { optimizer } = button.dataset;
    if (!state.hidden.delete(optimizer)) state.hidden.add(optimizer);
    document.querySelectorAll("[data-optimizer]").forEach((other) => {
      if (other.dataset.optimizer === optimizer) other.setAttribute("aria-pressed", !state.hidden.has(optimizer));
    });
    page.drawAll();
  }));
  page.start({ traces: (figure) => figure.data.map((one) => trace(one, figure.layout.meta)), layout });
})();
