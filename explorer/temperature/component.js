// Distributions at a temperature. Python sends logits once; every redraw happens here, without the server.
//
// What can be read in the DOM (inside the component's shadow root):
//   input[type=range]              the slider; its value is a place in `stops`, aria-valuetext begins "T = 4;"
//   [data-quantity][data-value]    temperature; teacher-entropy, student-entropy, kl, scaled-kl in nats
//   [data-sentence]                dark-knowledge, meaning
//   .chart[data-view]              what is drawn there: see rows.js and curves.js
// Numbers in data attributes have full precision.

const SHOWN = 10; // With more classes than this: the teacher's most likely ones, and the others together.
const ROLES = ["label", "teacher", "student"];
const QUIET = 150; // ms without a change before Python is told: a held arrow key is one report, not thirty
const VIEWS = { bars: rowsView, log: rowsView, gradient: rowsView, curves: curvesView };

const instances = new WeakMap();

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let instance = instances.get(parentElement);
  if (!instance) {
    instance = open(parentElement);
    instances.set(parentElement, instance);
  }
  instance.report = (temperature) => {
    inLink(temperature);
    setStateValue("temperature", temperature);
  };
  receive(instance, data);
  return () => {
    clearTimeout(instance.timer);
    removeEventListener("resize", instance.resized);
    instances.delete(parentElement);
  };
}

function open(root) {
  const instance = {
    root,
    slider: root.querySelector("input"),
    given: null, // the temperature Python sent last
    awaited: null, // the temperature sent to Python that has not come back yet
    due: false, // whether another is to be sent then
    timer: 0,
  };
  instance.slider.oninput = () => {
    instance.temperature = instance.data.stops[Number(instance.slider.value)];
    draw(instance);
  };
  instance.slider.onchange = () => {
    clearTimeout(instance.timer);
    instance.timer = setTimeout(() => tell(instance), QUIET);
  };
  instance.resized = () => fill(root);
  addEventListener("resize", instance.resized);
  return instance;
}

// One at a time: Python's answer to an older one would find a newer T in the link, and add an entry to the history.
function tell(instance) {
  const { temperature, awaited, given } = instance;
  instance.due = awaited !== null;
  if (instance.due || temperature === given) return; // the latter: dragged away and back
  instance.awaited = temperature;
  instance.report(temperature);
}

// Python writes it there too, and would add an entry to the browser's history for each: Back would lead through all of
// them before it led to the last page.
function inLink(temperature) {
  const link = new URL(location.href);
  link.searchParams.set("T", String(temperature));
  history.replaceState(history.state, "", link);
}

function receive(instance, data) {
  instance.data = data;
  adopt(instance, data.temperature);
  build(instance);
  draw(instance);
}

// A temperature from Python moves the slider only if it is news: not the echo of a report, which may come back while
// the person has long dragged on, and not what Python said last time.
function adopt(instance, temperature) {
  const echo = temperature === instance.awaited;
  if (!echo && temperature !== instance.given) {
    instance.temperature = temperature;
    instance.slider.max = instance.data.stops.length - 1;
    instance.slider.value = nearest(instance.data.stops, temperature);
  }
  if (echo || temperature !== instance.given) instance.awaited = null;
  instance.given = temperature;
  if (echo && instance.due) tell(instance);
}

function nearest(stops, temperature) {
  const distances = stops.map((stop) => Math.abs(stop - temperature));
  return distances.indexOf(Math.min(...distances));
}

// What does not depend on T: the titles, the ticks, and what the view makes of the classes.
function build(instance) {
  const { root, data } = instance;
  instance.order = data.teacher.map((_, place) => place).sort((a, b) => data.teacher[b] - data.teacher[a]);
  instance.truth = data.label ?? instance.order[0];
  instance.groups = grouped(data, instance.order, instance.truth);
  const [teacher, student] = data.titles;
  instance.titles = {
    label: data.label === null ? `${teacher}'s top class` : "Hard label",
    teacher: `${teacher} at T`,
    student: `${student} at T`,
  };

  const section = root.querySelector(".distributions");
  for (const role of ROLES) section.style.setProperty(`--${role}`, data.colours[role]);
  const [first, second] = data.titles.map((title) => title.split(" ")[0].toLowerCase());
  root.querySelector(".reading [data-role=teacher] dt").textContent = `Entropy, ${first}`;
  root.querySelector(".reading [data-role=student] dt").textContent = `Entropy, ${second}`;
  root.querySelector("[data-role=divergence]").textContent = `KL(${first} ‖ ${second})`;

  root.querySelector(".ticks").replaceChildren(...data.ticks.map((tick) => {
    const mark = element("span", "", String(tick));
    mark.style.setProperty("--at", nearest(data.stops, tick) / (data.stops.length - 1));
    return mark;
  }));

  const chart = root.querySelector(".chart");
  chart.dataset.view = data.view;
  instance.view = VIEWS[data.view](instance, chart);
  fill(root);
}

// The chart takes what the window has left below the slider; on a phone it is as long as it gets.
function fill(root) {
  const chart = root.querySelector(".chart");
  const { top } = root.querySelector(".view").getBoundingClientRect();
  const scrolled = document.querySelector('[data-testid="stMain"]')?.scrollTop ?? scrollY;
  const left = (innerHeight - top - scrolled) / (root.host?.currentCSSZoom ?? 1) - 16;
  chart.style.setProperty("--height", `${Math.max(0, left)}px`);
}

// The rows: every class in its own order or the likeliest first, or of many the teacher's likeliest, the true one, and
// all others in one.
function grouped({ classes, sorted }, order, truth) {
  const single = (place) => ({ name: classes[place], members: [place], rest: 0 });
  if (classes.length <= SHOWN) return (sorted ? order : classes.map((_, place) => place)).map(single);
  const shown = order.slice(0, SHOWN);
  if (!shown.includes(truth)) shown.push(truth);
  const members = order.filter((place) => !shown.includes(place));
  if (members.length === 0) return shown.map(single);
  const name = members.length === 1 ? "the other one" : `the other ${members.length} together`;
  return [...shown.map(single), { name, members, rest: members.length }];
}

// What depends on T: called at every movement of the slider.
function draw(instance) {
  const { root, data, temperature, groups, order } = instance;
  const teacher = logSoftmax(data.teacher, temperature);
  const student = logSoftmax(data.student, temperature);
  const shares = { teacher: teacher.map(Math.exp), student: student.map(Math.exp) };
  instance.view(shares, temperature);

  const most = Math.log(data.classes.length);
  const nats = (value) => [{ strong: figure(value) }, " nats"];
  const spread = (value) => [...nats(value), `, ${Math.round((100 * value) / most)}% of ln ${data.classes.length}`];
  const kl = divergence(teacher, student);
  const quantity = (name, value, parts) => {
    const node = root.querySelector(`[data-quantity=${name}]`);
    node.dataset.value = value;
    node.replaceChildren(...worded(parts));
  };
  quantity("temperature", temperature, [`T = ${temperature}`]);
  quantity("teacher-entropy", entropy(teacher), spread(entropy(teacher)));
  quantity("student-entropy", entropy(student), spread(entropy(student)));
  quantity("kl", kl, nats(kl));
  quantity("scaled-kl", temperature ** 2 * kl, nats(temperature ** 2 * kl));

  const second = order[1];
  const share = percent(shares.teacher[second]);
  root.querySelector("[data-sentence=dark-knowledge]").replaceChildren(...worded([
    `The ${data.titles[0].toLowerCase()}'s second guess is `, { strong: data.classes[second] }, ", at ",
    { strong: share }, verdict(data.label, second), remainder(groups, shares.teacher),
  ]));
  root.querySelector("[data-sentence=meaning]").textContent = data.view === "gradient"
    ? "The label pushes the true class up, and down whatever else the student believed. The teacher has a target for " +
      "each class: it also pushes up wrong ones that it finds likelier than the student does. pₛ: the student's answer, " +
      "pₜ: the teacher's, y: the label."
    : meaning(temperature, data.classes.length);
  instance.slider.setAttribute("aria-valuetext", `T = ${temperature}; ${data.classes[second]}: ${share}`);
}

function verdict(label, second) {
  if (label === null) return ".";
  if (label === second) return ". The label says that this one is right.";
  return ". The label says 0%: the difference is dark knowledge.";
}

function remainder(groups, shares) {
  const { members, rest } = groups.at(-1);
  return rest > 1 ? ` The ${rest} classes that are not listed hold ${percent(sum(shares, members))}.` : "";
}

function meaning(temperature, count) {
  if (temperature < 1) return "T below 1 gives the top class what the others had.";
  if (temperature === 1) return "T = 1 leaves the networks' own probabilities as they are.";
  if (temperature < 10) return "T above 1 lifts the small probabilities, so you can compare them.";
  return `The higher T is, the closer every class comes to 1/${count} = ${percent(1 / count)}, and the differences fade.`;
}

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

// Class names are what somebody typed: text, never markup.
function worded(parts) {
  return parts.map((part) => (part.strong === undefined ? new Text(part) : element("strong", "", part.strong)));
}
