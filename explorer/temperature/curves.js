// Every class's probability over T, of the teacher and of the student.
//
//   .curves svg[data-role]         teacher, student; path[data-class] with its probabilities at the ticks
//   .curves .share[data-class]     data-probability at T, of the network whose panel it stands in

const WIDE = 400, HIGH = 300; // of a panel's plot, in its own units
const COLORED = 5;
const SVG = "http://www.w3.org/2000/svg";

function curvesView(instance, chart) {
  const { data } = instance;
  const [low, high] = [Math.log(data.stops[0]), Math.log(data.stops.at(-1))];
  const at = (temperature) => (WIDE * (Math.log(temperature) - low)) / (high - low);
  const panels = ["teacher", "student"].map((role, place) => panel(instance, role, data.titles[place], at));
  const box = element("div", "curves");
  box.replaceChildren(...panels.map(({ figure }) => figure));
  chart.replaceChildren(box, element("p", "scale", "Probability of each class over T, on a logarithmic axis. The line is at T."));
  return (shares, temperature) => {
    for (const each of panels) each.draw(shares[each.role], temperature);
  };
}

function panel(instance, role, title, at) {
  const { data, groups, truth } = instance;
  const logits = data[role];
  // The order of the classes is the same at every T, so the names stand still while the lines move to and fro.
  const shown = [...groups].sort((a, b) => sum(softmax(logits, 1), b.members) - sum(softmax(logits, 1), a.members));
  const over = data.stops.map((stop) => softmax(logits, stop));
  const svg = shape("svg", { viewBox: `-44 -10 ${WIDE + 64} ${HIGH + 40}`, role: "img" });
  svg.dataset.role = role;
  svg.setAttribute("aria-label", told(title, logits, shown));
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = HIGH * (1 - share);
    svg.append(shape("line", { x1: 0, x2: WIDE, y1: y, y2: y, class: "grid" }),
      text(-8, y + 5, `${100 * share}%`, "end"));
  }
  for (const tick of data.ticks) svg.append(text(at(tick), HIGH + 22, String(tick), "middle"));
  for (const { name, members } of shown) {
    const points = data.stops.map((stop, place) => `${at(stop).toFixed(1)},${(HIGH * (1 - sum(over[place], members))).toFixed(2)}`);
    const path = shape("path", { d: `M${points.join("L")}`, fill: "none", stroke: color(instance, members[0]) });
    path.dataset.class = name;
    if (members[0] === truth) path.classList.add("truth");
    svg.append(path);
  }
  const rule = shape("line", { y1: 0, y2: HIGH, class: "rule" });
  svg.append(rule);

  const list = element("ol", "shares");
  const entries = shown.map(({ name, members }) => {
    const item = element("li", "share");
    item.dataset.class = name;
    item.style.setProperty("--colour", color(instance, members[0]));
    const label = element("span", "name", members[0] === truth && data.label !== null ? `${name} (true)` : name);
    label.title = name;
    const value = element("span", "value");
    item.append(label, value);
    list.append(item);
    const light = (on) => () => svg.querySelectorAll("path").forEach((path) => path.classList.toggle("dim", on && path.dataset.class !== name));
    item.onpointerenter = light(true);
    item.onpointerleave = light(false);
    return { item, members, value };
  });
  const figure = element("figure");
  const plot = element("div", "plot");
  plot.append(svg, list);
  const caption = element("figcaption", "", title);
  caption.dataset.role = role;
  figure.append(caption, plot);
  return {
    role,
    figure,
    draw(shares, temperature) {
      rule.setAttribute("x1", at(temperature));
      rule.setAttribute("x2", at(temperature));
      for (const { item, members, value } of entries) {
        const share = sum(shares, members);
        item.dataset.probability = share;
        value.textContent = percent(share);
      }
    },
  };
}

// The teacher's likeliest classes have colors that everybody tells apart; of the others it is enough that they are few.
function color({ data, order }, place) {
  const rank = order.indexOf(place);
  return rank < COLORED ? `color-mix(in srgb, ${data.class_colours[rank]} 80%, var(--st-text-color))` : "var(--muted)";
}

// What is said of a panel to who cannot see it.
function told(title, logits, shown) {
  const at = (temperature) => shown.slice(0, COLORED).map(
    ({ name, members }) => `${name} ${percent(sum(softmax(logits, temperature), members))}`).join(", ");
  return `${title}: probability of each class over T. ${[1, 5, 20].map((t) => `At T = ${t}: ${at(t)}`).join(". ")}.`;
}

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function text(x, y, content, anchor) {
  const node = shape("text", { x, y, "text-anchor": anchor });
  node.textContent = content;
  return node;
}
