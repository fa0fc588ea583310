// The course of a budget: what is left, how fast it burns, and the events behind it, one below the
// other over the same time. What is not known is drawn as not known.
(() => {
  "use strict";
  const place = document.getElementById("charts");
  if (!place || !window.uPlot) return;
  const { timeText, clock, day } = window.yoyu;
  const factors = JSON.parse(place.dataset.factors);
  const ranges = document.querySelector("[data-ranges]");
  const period = Number(place.dataset.seconds);
  let range = 0; // seconds; 0 is the period
  let data = null, plots = [], bad = false;

  // ── colours: those of the style sheet, as they are now ──
  const probe = document.createElement("span");
  probe.className = "probe";
  document.body.append(probe);
  const colour = (name) => { probe.className = `probe c-${name}`; return getComputedStyle(probe).color; };

  const number = (f) => {
    if (f === null || f === undefined) return "–";
    const a = Math.abs(f);
    if (a >= 1e6) return (f / 1e6).toPrecision(3) + "M";
    if (a >= 1e4) return (f / 1e3).toPrecision(3) + "k";
    if (a >= 100 || Number.isInteger(f)) return String(Math.round(f));
    return String(Number(f.toPrecision(3)));
  };
  // Rounded down, as everywhere: what is left is never said to be more than it is.
  const percent = (f) => (f === null ? "–" : `${Math.floor(f * 1000 + 1e-9) / 10}%`);
  const seconds = (iso) => Date.parse(iso) / 1000;
  const lasting = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 360) / 10} h` : `${Math.round(s / 8640) / 10} d`);

  // ── what is drawn behind the lines ──
  const hatch = (ctx, x, y, w, h, style, gap) => {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, w, h);
    ctx.clip();
    ctx.strokeStyle = style;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (let at = x - h; at < x + w; at += gap * devicePixelRatio) { ctx.moveTo(at, y + h); ctx.lineTo(at + h, y); }
    ctx.stroke();
    ctx.restore();
  };
  const behind = (u) => {
    const { ctx, bbox } = u;
    const x = (t) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(t, "x", true)));
    const stretch = (from, to, draw) => { const a = x(from), b = x(to); if (b > a || to > from) draw(a, Math.max(b - a, devicePixelRatio)); };
    for (const s of data.steps) {
      if (s.coverage !== null && s.coverage < 0.9995) {
        stretch(seconds(s.from), seconds(s.to), (at, wide) => {
          ctx.save();
          ctx.globalAlpha = 0.35 + 0.65 * (1 - s.coverage);
          hatch(ctx, at, bbox.top, wide, bbox.height, colour("gap"), 6);
          ctx.restore();
        });
      }
    }
    for (const c of data.corrections) {
      stretch(seconds(c.from), seconds(c.to), (at, wide) => {
        ctx.save();
        ctx.globalAlpha = 0.16;
        ctx.fillStyle = colour("low");
        ctx.fillRect(at, bbox.top, wide, bbox.height);
        ctx.restore();
        ctx.fillStyle = colour("low");
        ctx.fillRect(at, bbox.top + bbox.height - 3 * devicePixelRatio, wide, 3 * devicePixelRatio);
      });
    }
    for (const a of data.alerts) {
      stretch(seconds(a.from), a.to === null ? seconds(data.to) : seconds(a.to), (at, wide) => {
        const page = a.severity === data.alerts.find((b) => b.severity === "page")?.severity || a.severity === "page";
        ctx.save();
        ctx.fillStyle = colour(page ? "firing" : "burning");
        ctx.globalAlpha = 0.1;
        ctx.fillRect(at, bbox.top, wide, bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(at, bbox.top + (page ? 0 : 5 * devicePixelRatio), wide, 4 * devicePixelRatio);
        ctx.restore();
      });
    }
  };
  const lines = (levels) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    for (const { at, says, dash, tone } of levels) {
      const y = u.valToPos(at, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(tone);
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash(dash.map((d) => d * devicePixelRatio));
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      if (says) ctx.fillText(says, bbox.left + 4 * devicePixelRatio, y - 3 * devicePixelRatio);
    }
    ctx.restore();
  };

  // ── the charts ──
  const sync = uPlot.sync("course");
  const figure = (title, key) => {
    const f = document.createElement("figure");
    f.className = "chart";
    const c = document.createElement("figcaption");
    c.textContent = title;
    const d = document.createElement("div");
    d.className = "canvas";
    d.tabIndex = 0;
    d.setAttribute("role", "img");
    d.setAttribute("aria-label", `${title}. Arrow keys move the cursor; the values stand above the charts.`);
    d.dataset.chart = key;
    f.append(c, d);
    return [f, d];
  };
  const axis = (more) => ({ stroke: () => colour("faint"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { stroke: () => colour("line"), width: 1 }, font: "12px system-ui, sans-serif", ...more });
  const timeAxis = () => axis({ space: 70, values: (u, splits, i, space, step) => splits.map((s) => {
    const t = new Date(s * 1000);
    const midnight = t.getHours() === 0 && t.getMinutes() === 0;
    if (step >= 86400 || midnight) return new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }).format(t);
    return clock.format(t).slice(0, step < 60 ? 8 : 5);
  }) });
  const plot = (target, high, series, values, more) => {
    const u = new uPlot({
      width: target.clientWidth, height: high, series: [{}, ...series], legend: { show: false },
      cursor: { sync: { key: sync.key, setSeries: false }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
      padding: [8, 0, 0, 0],
      scales: { x: { time: true, range: () => [seconds(data.from), seconds(data.to)] }, ...more.scales },
      // The same edges for all charts, one above the other; the last one has the times.
      axes: [more.times ? timeAxis() : axis({ size: 4, values: () => [], ticks: { show: false } }), axis({ size: 52, ...more.y }),
        axis({ size: 44, side: 1, scale: more.right ? "bad" : "y", grid: { show: false }, ticks: { show: false }, values: more.right ?? (() => []), stroke: () => colour("firing") })],
      hooks: { ...more.hooks, drawClear: [behind], setCursor: [(v) => read(v.cursor.idx)] },
    }, values, target);
    u.over.dataset.chart = target.dataset.chart;
    plots.push(u);
    target.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[event.key];
      if (!step) return;
      event.preventDefault();
      const last = u.data[0].length - 1, at = Math.max(0, Math.min(last, (u.cursor.idx ?? last) + step));
      u.setCursor({ left: u.valToPos(u.data[0][at], "x"), top: 1 }, true);
    });
  };

  const readout = document.createElement("p");
  readout.className = "readout";
  readout.setAttribute("role", "status");
  const idle = "Point at a chart, or move along it with the arrow keys, to read its values.";
  const read = (i) => {
    if (i === null || i === undefined || !data?.steps[i]) { readout.textContent = idle; return; }
    const s = data.steps[i];
    const to = new Date(s.to);
    const parts = [
      ["", `${lasting(seconds(s.to) - seconds(s.from))} to ${timeText(to)}`, ""],
      ["left", percent(s.remaining_ratio), s.remaining_ratio],
      ["burn", s.burn_rate === null ? "–" : `${number(s.burn_rate)}×`, s.burn_rate],
      ["bad", `${number(s.bad)} of ${number(s.total)}`, s.bad],
    ];
    if (s.coverage !== null && s.coverage < 0.9995) parts.push(["known", percent(s.coverage), s.coverage]);
    for (const a of data.alerts) if (seconds(a.from) < seconds(s.to) && (a.to === null || seconds(a.to) > seconds(s.from))) parts.push(["", `▲ ${a.severity}`, ""]);
    for (const c of data.corrections) if (seconds(c.from) < seconds(s.to) && seconds(c.to) > seconds(s.from)) parts.push(["", `corrected: ${c.name}`, ""]);
    readout.replaceChildren(...parts.map(([name, says, exact]) => {
      const e = document.createElement("span");
      if (name) { const b = document.createElement("b"); b.textContent = name; e.append(b, " "); }
      if (exact === "") e.append(says);
      else { const d = document.createElement("data"); d.value = exact ?? ""; d.textContent = says; d.dataset.read = name; e.append(d); }
      return e;
    }));
  };

  const draw = () => {
    for (const u of plots) u.destroy();
    plots = [];
    const steps = data.steps;
    const at = steps.map((s) => seconds(s.to));
    // Where nothing was answered there is no value: the line is broken.
    const known = (s, v) => (s.coverage === 0 ? null : v);
    const left = steps.map((s) => known(s, s.remaining_ratio));
    const burn = steps.map((s) => (s.burn_rate === null ? null : Math.max(s.burn_rate, 0)));
    const span = (s) => seconds(s.to) - seconds(s.from);
    const good = steps.map((s) => known(s, s.total / span(s)));
    const wrong = steps.map((s) => known(s, s.bad / span(s)));
    const [f1, d1] = figure("Budget left", "left");
    const [f2, d2] = figure("Burn rate", "burn");
    const [f3, d3] = figure("Events a second; bad ones in red, by the axis on the right", "events");
    place.replaceChildren(readout, f1, f2, f3);
    read(null);
    const stepped = uPlot.paths.stepped({ align: -1 });
    const least = Math.min(0, ...left.filter((v) => v !== null));
    const small = place.clientWidth < 500;
    plot(d1, small ? 150 : 190, [{ stroke: () => colour("course"), width: 2, fill: () => colour("course-fill"), spanGaps: false, points: { show: false } }], [at, left], {
      scales: { y: { range: () => [Math.max(least * 1.05, least < -1 ? least * 1.05 : -1), 1.02] } },
      y: { values: (u, splits) => splits.map((v) => `${Math.round(v * 100)}%`) },
      hooks: { draw: [lines([{ at: 0, says: least < 0 ? "spent" : "", dash: [2, 3], tone: least < 0 ? "firing" : "faint" }])] },
    });
    const most = Math.max(2, ...burn.filter((v) => v !== null));
    const seen = factors.filter((f) => f.factor < most * 3).sort((a, b) => b.factor - a.factor);
    const levels = [{ at: 1, says: "steady pace", dash: [4, 4], tone: "faint" }];
    for (const f of seen) if (f.factor > 1 && !levels.some((l) => Math.abs(Math.log(l.at / f.factor)) < 0.35)) levels.push({ at: f.factor, says: `${f.label} ${number(f.factor)}×`, dash: [8, 4], tone: "burning" });
    plot(d2, small ? 130 : 160, [{ stroke: () => colour("fast"), width: 1.5, fill: () => colour("fast-fill"), paths: stepped, spanGaps: false, points: { show: false } }], [at, burn.map((v) => (v === null ? null : v))], {
      scales: { y: { distr: 4, asinh: 1, range: () => [0, Math.max(most, 2) * 1.3] } },
      y: { values: (u, splits) => splits.map((v) => ([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].includes(v) ? `${v}×` : "")), splits: () => [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((v) => v <= Math.max(most, 2) * 1.3), filter: null, space: 18 },
      hooks: { draw: [lines(levels)] },
    });
    const worst = Math.max(0, ...wrong.filter((v) => v !== null));
    plot(d3, small ? 130 : 160, [
      { stroke: () => colour("faint"), width: 1, fill: () => colour("events-fill"), paths: stepped, spanGaps: false, points: { show: false } },
      { scale: "bad", stroke: () => colour("firing"), width: 1.5, fill: () => colour("firing-fill"), paths: stepped, spanGaps: false, points: { show: false } },
    ], [at, good, wrong], {
      scales: { y: { range: (u, least, most) => [0, (most || 1) * 1.1] }, bad: { range: () => [0, (worst || 1) * 1.6] } },
      y: { values: (u, splits) => splits.map(number) }, right: (u, splits) => splits.map((v) => (worst ? number(v) : "")), times: true,
    });
    place.dataset.drawn = String(steps.length);
  };

  // ── data ──
  const ask = async () => {
    const q = new URLSearchParams();
    if (range) {
      const to = Math.floor(Date.parse(document.querySelector("#clock time")?.dateTime ?? place.dataset.at) / 1000);
      q.set("from", String(to - range));
    }
    const address = place.dataset.history + (place.dataset.history.endsWith("?") ? "" : "&") + q;
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) });
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `the answer is ${answer.status}`);
      const body = await answer.json();
      data = body.histories[0];
      draw();
      bad = false;
    } catch (problem) {
      if (!data && !bad) { const p = document.createElement("p"); p.className = "aside"; p.textContent = `No course to show: ${problem.message}.`; place.append(p); }
      bad = true;
    }
  };
  if (ranges) {
    ranges.hidden = false;
    for (const b of ranges.querySelectorAll("button")) b.hidden = Number(b.dataset.range) >= period;
    ranges.addEventListener("click", (event) => {
      const b = event.target.closest("button");
      if (!b) return;
      range = Number(b.dataset.range);
      for (const other of ranges.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === b));
      ask();
    });
  }
  new ResizeObserver(() => { for (const u of plots) { const to = u.root.parentElement.clientWidth; if (to && to !== u.width) u.setSize({ width: to, height: u.height }); } }).observe(place);
  document.addEventListener("yoyu:theme", () => { if (data) draw(); });
  let last = 0;
  document.addEventListener("yoyu:tick", () => { // not under somebody's cursor, and not at every tick
    const pointed = plots.some((u) => (u.cursor.left ?? -1) >= 0);
    if (pointed || Date.now() - last < (range && range <= 21600 ? 10000 : 60000)) return;
    last = Date.now();
    ask();
  });
  ask();
})();
