"use strict";
// What the figures of every page share: they are embedded as JSON, painted for a light or dark screen or for paper, and
// drawn anew when that changes. `start` takes what turns a figure into the traces and the layout that plotly draws.
const page = (() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (dark.matches ? "dark" : "light");
  const paints = {
    light: { text: "#3a4450", grid: "#e6e9ed", axis: "#aab3bd", target: "#7b8794" },
    dark: { text: "#b9c4cf", grid: "#2a323b", axis: "#56626e", target: "#8793a0" },
  };
  const state = { theme: theme(), paper: false };
  const plots = [...document.querySelectorAll(".plot")].map((box) => ({
    box,
    figure: JSON.parse(box.querySelector("script").textContent),
  }));
  plots.forEach(({ box }) => box.querySelector("script").remove());
  const size = () => (state.paper ? 9 : 12);
  let traces, layout;

  function axis() {
    const paint = paints[state.theme];
    return { gridcolor: paint.grid, linecolor: paint.axis, showline: true, ticks: "outside", tickcolor: paint.axis, zeroline: false };
  }

  // The name of the vertical axis, above it.
  const heading = (text, base) => ({ text, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
    showarrow: false, xshift: -base.margin.l / 2, yshift: 4 });

  function draw({ box, figure }, width, height) {
    const common = {
      width, height, autosize: width === undefined,
      margin: state.paper ? { l: 30, r: 26, t: 22, b: 32 } : figure.layout.margin,
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif",
        size: size(), color: paints[state.theme].text },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { font: { size: 13 }, align: "left" },
    };
    const options = { responsive: true, displaylogo: false, displayModeBar: false };
    return Plotly.react(box, traces(figure), { ...figure.layout, ...common, ...layout(figure) }, options);
  }
  const drawAll = () => plots.forEach((plot) => draw(plot));

  function start(choices) {
    ({ traces, layout } = choices);
    drawAll();
    dark.addEventListener("change", () => {
      state.theme = theme();
      drawAll();
    });
  }

  // Paper is light, has no window to measure, and shows what is folded away on the screen.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
    Object.assign(state, { theme: "light", paper: true });
    const sheet = 700;
    plots.forEach((plot) => {
      const columns = plot.box.parentElement.children.length;
      const side = plot.figure.layout.meta.side; // of a square one
      draw(plot, side || Math.floor(sheet / columns) - 8, side || 230);
    });
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((one) => { one.open = false; });
    Object.assign(state, { theme: theme(), paper: false });
    drawAll();
    plots.forEach(({ box }) => Plotly.Plots.resize(box));
  });
  return { state, paints, size, axis, heading, drawAll, start };
})();
