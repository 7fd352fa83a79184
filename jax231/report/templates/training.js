// A training run: curves hold what was recorded; a logarithmic view shows accuracies as the errors that are left.
(() => {
  const looks = JSON.parse(document.getElementById("looks").textContent);
  const { state } = page;
  state.view = "linear";
  const scales = { light: ["#ffffff", "#007a87"], dark: ["#14181d", "#5fdbe6"] };
  const shares = new Set(["accuracy", "mean_iou"]);
  const logarithmic = () => state.view === "log";

  function trace(original, { quantity }) {
    if (quantity === "confusion") {
      const [low, high] = scales[state.theme];
      return { ...original, colorscale: [[0, low], [1, high]] };
    }
    const color = looks[original.meta.series][state.theme];
    const y = logarithmic() ? original.y.map((v) => (shares.has(quantity) ? 1 - v : v)).map((v) => (v > 0 ? v : null)) : original.y;
    return { ...original, y, line: { ...original.line, color }, marker: { ...original.marker, color } };
  }

  // A logarithmic axis with ticks that fit what is drawn: decades, 1-2-5, or within a decade even steps.
  function logarithmicAxis(figure, percent) {
    const drawn = figure.data.flatMap((one) => trace(one, figure.layout.meta).y).filter((v) => v > 0);
    const high = drawn.reduce((a, b) => Math.max(a, b), 0);
    const low = Math.max(drawn.reduce((a, b) => Math.min(a, b), Infinity), 1e-5 * high);
    const decades = Math.log10(high / low);
    const range = [Math.log10(low) - 0.05 * decades - 0.01, Math.log10(high) + 0.05 * decades + 0.01];
    const scale = { type: "log", autorange: !drawn.length, range: drawn.length ? range : undefined, tickformat: percent ? "~%" : "" };
    if (decades > 2) return { ...scale, dtick: 1 };
    if (decades > 1) return { ...scale, dtick: "D2" };
    const unit = 10 ** Math.floor(Math.log10((high - low) / 3 || high));
    const step = unit * [1, 2, 5, 10].find((m) => m * unit >= (high - low) / 5);
    const tickvals = [...Array(12).keys()].map((i) => (Math.floor(low / step) + i) * step).filter((v) => v > 0);
    const ticktext = tickvals.map((v) => (percent ? `${+(100 * v).toPrecision(4)}%` : `${+v.toPrecision(4)}`));
    return { ...scale, tickvals, ticktext };
  }

  function layout(figure) {
    const base = figure.layout;
    const { quantity, name } = base.meta;
    const axis = page.axis();
    if (quantity === "confusion") {
      const room = Math.min(600, window.innerWidth - 32) / base.xaxis.tickvals.length; // pixels a class
      const plain = { ...axis, showgrid: false, ticks: "", showticklabels: room > 8 };
      return { xaxis: { ...plain, ...base.xaxis }, yaxis: { ...plain, ...base.yaxis }, annotations: [page.heading(name, base)] };
    }
    const percent = shares.has(quantity);
    const linear = { type: "linear", autorange: true, rangemode: quantity === "rate" ? "tozero" : "normal", tickformat: percent ? ".3~%" : "" };
    const scale = logarithmic() ? logarithmicAxis(figure, percent) : linear;
    const title = logarithmic() && percent ? `1 − ${name}` : name;
    return {
      xaxis: { ...axis, ...base.xaxis },
      yaxis: { ...axis, ...base.yaxis, exponentformat: "power", ...scale },
      annotations: [page.heading(title, base)],
    };
  }

  document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    state.view = button.dataset.view;
    document.querySelectorAll("button[data-view]").forEach((other) => other.setAttribute("aria-pressed", other.dataset.view === state.view));
    page.drawAll();
  }));
  page.start({ traces: (figure) => figure.data.map((one) => trace(one, figure.layout.meta)), layout });
})();
