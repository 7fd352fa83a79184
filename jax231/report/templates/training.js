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

  function layout({ layout: base }) {
    const { quantity, name } = base.meta;
    const axis = page.axis();
    if (quantity === "confusion") {
      const room = Math.min(600, window.innerWidth - 32) / base.xaxis.tickvals.length; // pixels a class
      const plain = { ...axis, showgrid: false, ticks: "", showticklabels: room > 8 };
      return { xaxis: { ...plain, ...base.xaxis }, yaxis: { ...plain, ...base.yaxis }, annotations: [page.heading(name, base)] };
    }
    const percent = shares.has(quantity) ? { tickformat: logarithmic() ? "~%" : ".3~%" } : { exponentformat: "power" };
    const scale = logarithmic() ? { type: "log", dtick: "D2" } : { type: "linear", rangemode: quantity === "rate" ? "tozero" : "normal" };
    const title = logarithmic() && shares.has(quantity) ? `1 − ${name}` : name;
    return { xaxis: { ...axis, ...base.xaxis }, yaxis: { ...axis, ...base.yaxis, ...percent, ...scale, autorange: true }, annotations: [page.heading(title, base)] };
  }

  document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
    state.view = button.dataset.view;
    document.querySelectorAll("button[data-view]").forEach((other) => other.setAttribute("aria-pressed", other.dataset.view === state.view));
    page.drawAll();
  }));
  page.start({ traces: (figure) => figure.data.map((one) => trace(one, figure.layout.meta)), layout });
})();
