// Points of the scatters answer to the pointer, to a tap and to the keyboard.
(() => {
  "use strict";
  const tip = document.getElementById("tip");
  let pinned = null, ring = null;
  const hide = () => {
    tip.hidden = true; pinned = null;
    if (ring) { ring.setAttribute("cx", -20); ring.setAttribute("cy", -20); ring = null; }
  };
  const centre = point => {
    const box = point.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const add = (list, name, value) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name; text.textContent = value;
    list.append(term, text);
  };
  const show = (svg, point) => {
    const d = point.dataset, title = document.createElement("b"), list = document.createElement("dl");
    title.textContent = "row " + d.row + ": " + d.agreement;
    add(list, "z", d.zRaw + " (" + d.z + " sd)");
    add(list, "ẑ", d.zHatRaw + " (" + d.zHat + " sd)");
    add(list, "DC", d.dc + " sd");
    add(list, "DR", d.dr + " sd");
    add(list, "teacher", d.teacher);
    add(list, "student", d.student);
    add(list, "truth", d.truth);
    tip.replaceChildren(title, list);
    tip.hidden = false;
    const [x, y] = centre(point), own = svg.querySelector(".ring");
    if (ring && ring !== own) ring.setAttribute("cx", -20);
    ring = own; ring.setAttribute("cx", x); ring.setAttribute("cy", y);
    const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    const wide = document.documentElement.clientWidth, w = tip.offsetWidth, h = tip.offsetHeight;
    const left = Math.max(8, Math.min(at.x - w / 2, wide - w - 8));
    const top = at.y - h - 14 < 4 ? at.y + 14 : at.y - h - 14;
    tip.style.left = left + scrollX + "px";
    tip.style.top = top + scrollY + "px";
  };
  for (const svg of document.querySelectorAll("svg.plot")) {
    const points = [...svg.querySelectorAll("[data-row]")];
    if (!points.length) continue;
    let places = null;
    const nearest = (event, reach) => {
      places ||= points.map(centre);
      const matrix = svg.getScreenCTM();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      let best = null, least = (reach / matrix.a) ** 2;
      places.forEach(([x, y], i) => {
        const d = (x - at.x) ** 2 + (y - at.y) ** 2;
        if (d <= least) { least = d; best = points[i]; }
      });
      return best;
    };
    points.forEach((point, i) => point.setAttribute("tabindex", i ? -1 : 0));
    svg.addEventListener("pointermove", event => {
      if (pinned || event.pointerType === "touch") return;
      const point = nearest(event, 12);
      if (point) show(svg, point); else hide();
    });
    svg.addEventListener("pointerleave", event => { if (!pinned && event.pointerType !== "touch") hide(); });
    svg.addEventListener("click", event => {
      const point = nearest(event, 26);
      event.stopPropagation();
      if (!point || point === pinned) { hide(); return; }
      show(svg, point); pinned = point;
    });
    svg.addEventListener("focusin", event => { if (event.target.dataset.row && !pinned) show(svg, event.target); });
    svg.addEventListener("focusout", () => { if (!pinned) hide(); });
    svg.addEventListener("keydown", event => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 20, PageUp: -20,
                      Home: -points.length, End: points.length };
      const i = points.indexOf(document.activeElement);
      if (!(event.key in steps) || i < 0) return;
      event.preventDefault();
      pinned = null;
      const next = points[Math.max(0, Math.min(points.length - 1, i + steps[event.key]))];
      points[i].setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus({ preventScroll: true });
    });
  }
  document.addEventListener("click", hide);
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  addEventListener("resize", hide);
})();
