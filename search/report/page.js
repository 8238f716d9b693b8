"use strict";
(() => {
  const read = (id) => {
    const element = document.getElementById(id);
    return element ? JSON.parse(element.textContent) : null;
  };
  const config = read("config");
  const labels = read("labels"); // the text of each trial's points, by number: once for all plots
  const drawings = [...document.querySelectorAll(".drawing")];
  const whole = new Map(); // drawing -> its figure with all trials

  function draw(element) {
    const figure = read(element.dataset.figure);
    for (const trace of figure.data) {
      if (labels && trace.meta === "trials") trace.hovertext = trace.customdata.map((n) => labels[n]);
    }
    whole.set(element, figure.data.map((trace) => ({ ...trace, marker: { ...trace.marker } })));
    const options = structuredClone(config);
    options.toImageButtonOptions.filename = `${document.title} ${element.id}`;
    return Plotly.newPlot(element, figure.data, figure.layout, options);
  }

  // --- filter -------------------------------------------------------------------------------
  const form = document.getElementById("filter");
  const rows = [...document.querySelectorAll("#trials tbody tr")];
  const limit = (id) => {
    const text = document.getElementById(id).value;
    return text === "" ? Infinity : Number(text);
  };

  function kept() {
    const [forget, gap] = [limit("filter-forget"), limit("filter-gap")];
    const state = document.getElementById("filter-state").value;
    // A trial without a figure is not known to be within the limit.
    const within = (value, most) => most === Infinity || (value !== undefined && Number(value) <= most);
    return rows.filter((row) => within(row.dataset.forget, forget) && within(row.dataset.gap, gap)
      && (state === "" || row.dataset.state === state));
  }

  function thin(element, numbers) {
    whole.get(element)?.forEach((trace, index) => {
      if (trace.meta !== "trials") return;
      const left = trace.customdata.flatMap((number, place) => numbers.has(number) ? [place] : []);
      const pick = (list) => [left.map((place) => list[place])];
      const update = {};
      for (const key of ["x", "y", "customdata", "hovertext"]) update[key] = pick(trace[key]);
      if (Array.isArray(trace.marker?.color)) update["marker.color"] = pick(trace.marker.color);
      Plotly.restyle(element, update, [index]);
    });
  }

  function filter() {
    const found = kept();
    const numbers = new Set(found.map((row) => Number(row.dataset.number)));
    for (const row of rows) row.hidden = !numbers.has(Number(row.dataset.number));
    document.getElementById("shown").value = `${found.length} of ${rows.length} trials`;
    for (const element of drawings) if ("filtered" in element.dataset) thin(element, numbers);
  }

  if (form) {
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
  }

  // --- tables -------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table")) {
    const headings = [...table.querySelectorAll("thead tr:last-child th")];
    const first = table.querySelector("tbody tr");
    headings.forEach((heading, column) => {
      const cell = first?.cells[column];
      if (cell?.classList.contains("number")) heading.classList.add("right");
      const button = heading.querySelector("button");
      if (button) button.addEventListener("click", () => sort(table, headings, column));
    });
  }

  function sort(table, headings, column) {
    const descending = headings[column].getAttribute("aria-sort") === "ascending";
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const value = (row) => row.cells[column].dataset.value;
    const lines = [...body.rows];
    const numeric = lines.every((row) => value(row) === undefined || value(row) !== "" && !isNaN(value(row)));
    lines.sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
      const order = numeric ? left - right : left.localeCompare(right);
      return descending ? -order : order;
    });
    body.append(...lines);
  }

  // --- copying ------------------------------------------------------------------------------
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.closest("figure").querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch { // files have no clipboard in some browsers: mark the text, for the keyboard
        getSelection().selectAllChildren(code);
        button.textContent = document.execCommand("copy") ? "copied" : "marked";
      }
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
  }

  // --- contents -----------------------------------------------------------------------------
  const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) links.get(entry.target.id)?.classList.toggle("current", entry.isIntersecting);
  }, { rootMargin: "-10% 0px -70% 0px" });
  document.querySelectorAll("section").forEach((section) => watch.observe(section));

  // --- paper: plots fit a page while it is printed ----------------------------------
  const PAPER = { width: 680, height: 930 };
  addEventListener("beforeprint", () => {
    for (const element of whole.keys()) {
      const height = Math.min(PAPER.height, element.layout.height);
      element.dataset.height = element.layout.height;
      element.style.height = `${height}px`;
      Plotly.relayout(element, { width: PAPER.width, height });
    }
  });
  addEventListener("afterprint", () => {
    for (const element of whole.keys()) {
      const height = Number(element.dataset.height);
      element.style.height = `${height}px`;
      Plotly.relayout(element, { width: null, height, autosize: true });
    }
  });

  (async () => {
    for (const element of drawings) {
      await draw(element);
      await new Promise((done) => setTimeout(done)); // the page stays usable meanwhile
    }
    if (form && (document.getElementById("filter-forget").value || document.getElementById("filter-gap").value
      || document.getElementById("filter-state").value)) filter(); // a browser may have kept it
    document.documentElement.dataset.ready = "";
  })();
})();
