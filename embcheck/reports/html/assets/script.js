"use strict";
(() => {
  const tip = document.getElementById("tip");
  const say = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - box.width - 4)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 8 : y + 18) + "px";
  };
  const hush = () => { tip.hidden = true; };
  const cells = new WeakMap();
  const read = (image) => {
    if (!cells.has(image)) {
      const bytes = Uint8Array.from(atob(image.dataset.cells), (c) => c.charCodeAt(0));
      const names = JSON.parse(image.dataset.names);
      const heads = image.dataset.columns ? JSON.parse(image.dataset.columns) : names;
      cells.set(image, { names, heads, bytes, limit: Number(image.dataset.limit) });
    }
    return cells.get(image);
  };
  const cell = (image, row, column) => {
    const { names, heads, bytes, limit } = read(image);
    const level = bytes[row * heads.length + column];
    const size = ((level - 127) / 127 * limit).toFixed(limit < 0.1 ? 4 : 2);
    const more = level === 254 ? "at least " : level === 0 ? "at most " : "";
    return names[row] + " and " + heads[column] + ": " + more + size;
  };
  const point = (event) => {
    const target = event.target;
    if (!(target instanceof Element)) return hush();
    if (target.matches("img.heat")) {
      const box = target.getBoundingClientRect(), { names, heads } = read(target);
      const at = (p, from, size, n) => Math.max(0, Math.min(n - 1, Math.floor((p - from) / size * n)));
      const row = at(event.clientY, box.top, box.height, names.length);
      return say(cell(target, row, at(event.clientX, box.left, box.width, heads.length)), event.clientX, event.clientY);
    }
    const mark = target.closest("[data-tip]");
    return mark ? say(mark.dataset.tip, event.clientX, event.clientY) : hush();
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", hush, { passive: true });
  const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  const place = new WeakMap();
  document.addEventListener("keydown", (event) => {
    const target = event.target, step = STEPS[event.key];
    if (event.key === "Escape") return hush();
    if (!step || !(target instanceof Element) || !target.matches("svg.chart, img.heat")) return undefined;
    event.preventDefault();
    if (target.matches("img.heat")) {
      const box = target.getBoundingClientRect(), { names, heads } = read(target);
      const [row, column] = place.get(target) || [0, -step[1]];
      const n = [names.length, heads.length];
      const to = [row + step[0], column + step[1]].map((p, i) => Math.max(0, Math.min(n[i] - 1, p)));
      place.set(target, to);
      return say(cell(target, ...to), box.left + (to[1] + 0.5) / n[1] * box.width, box.top + (to[0] + 0.5) / n[0] * box.height);
    }
    const marks = [...target.querySelectorAll("[data-tip]")];
    if (!marks.length) return undefined;
    const old = place.has(target) ? place.get(target) : -1;
    const next = Math.max(0, Math.min(marks.length - 1, old + step[0] + step[1]));
    if (old >= 0) marks[old].classList.remove("here");
    marks[next].classList.add("here");
    place.set(target, next);
    const box = marks[next].getBoundingClientRect();
    return say(marks[next].dataset.tip, box.right, box.top);
  });
  document.addEventListener("focusout", hush);
  const reveal = () => {
    const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let open = at && at.closest("details"); open; open = open.parentElement.closest("details")) open.open = true;
    if (at) at.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
  const form = document.querySelector("form.find");
  if (form) {
    const [input, select, output] = ["input", "select", "output"].map((name) => form.querySelector(name));
    const fits = (element, words) => {
      const marks = element.dataset.marks.split(" ");
      const text = element.textContent.toLowerCase();
      return (!select.value || marks.includes(select.value)) && words.every((word) => text.includes(word));
    };
    const sift = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const sections = [...document.querySelectorAll("section[data-marks]")];
      const shown = new Set(sections.filter((section) => fits(section, words)).map((section) => section.id));
      for (const section of sections) {
        section.classList.toggle("apart", !shown.has(section.id));
        for (const part of section.querySelectorAll("[data-marks]")) part.classList.toggle("apart", !fits(part, []));
      }
      for (const entry of document.querySelectorAll(".summary [data-marks], .contents [data-marks]")) {
        entry.classList.toggle("apart", !shown.has(entry.querySelector("a").hash.slice(1)));
      }
      output.textContent = words.length || select.value ? shown.size + " of " + sections.length + " properties" : "";
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    input.addEventListener("input", sift);
    select.addEventListener("change", sift);
  }
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
