// Distributions at a temperature. Python sends logits once; every redraw happens here, without the server.
//
// What can be read in the DOM (inside the component's shadow root):
//   input[type=range]              the slider; its value is a place in `stops`, aria-valuetext begins "T = 4;"
//   [data-quantity][data-value]    temperature; teacher-entropy, student-entropy, kl, scaled-kl in nats
//   .rows > li[data-class]         one row a class; the last may be "the other N together", with data-rest=N
//   .rows .bar[data-role]          label, teacher, student: data-probability at T, and data-at-one at T = 1
//   [data-sentence]                dark-knowledge, meaning
// Numbers in data attributes have full precision.

const SHOWN = 10; // With more classes than this: the teacher's most likely ones, and the others together.
const ROLES = ["label", "teacher", "student"];
const QUIET = 150; // ms without a change before Python is told: a held arrow key is one report, not thirty

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

// ---- arithmetic -----------------------------------------------------------------------------------------------------

// log softmax(z / T). The largest logit is taken off first, so no exponential overflows at any T.
function logSoftmax(logits, temperature) {
  const largest = Math.max(...logits);
  const shifted = logits.map((logit) => (logit - largest) / temperature);
  const total = Math.log(shifted.reduce((sum, value) => sum + Math.exp(value), 0));
  return shifted.map((value) => value - total);
}

// -sum p ln p, in nats.
function entropy(logs) {
  return logs.reduce((sum, log) => sum - Math.exp(log) * log, 0);
}

// KL(teacher || student), in nats; rounding may take equal distributions below 0.
function divergence(teacher, student) {
  return Math.max(0, teacher.reduce((sum, log, place) => sum + Math.exp(log) * (log - student[place]), 0));
}

// ---- drawing --------------------------------------------------------------------------------------------------------

// What does not depend on T: rows, legend, ticks.
function build(instance) {
  const { root, data } = instance;
  const order = data.teacher.map((_, place) => place).sort((a, b) => data.teacher[b] - data.teacher[a]);
  const truth = data.label ?? order[0];
  const label = data.classes.map((_, place) => (place === truth ? 1 : 0));
  const groups = grouped(data.classes, order, truth);
  const atOne = {
    label,
    teacher: logSoftmax(data.teacher, 1).map(Math.exp),
    student: logSoftmax(data.student, 1).map(Math.exp),
  };
  const [teacher, student] = data.titles;
  const titles = {
    label: data.label === null ? `${teacher}'s top class as a hard label` : "Hard label",
    teacher: `${teacher} at T`,
    student: `${student} at T`,
  };

  const section = root.querySelector(".distributions");
  for (const role of ROLES) {
    section.style.setProperty(`--${role}`, data.colours[role]);
    root.querySelector(`.legend [data-role=${role}]`).textContent = titles[role];
  }
  section.dataset.density = groups.length <= 4 ? "roomy" : groups.length <= 7 ? "medium" : "dense";
  const [first, second] = data.titles.map((title) => title.split(" ")[0].toLowerCase());
  root.querySelector(".reading [data-role=teacher] dt").textContent = `Entropy, ${first}`;
  root.querySelector(".reading [data-role=student] dt").textContent = `Entropy, ${second}`;
  root.querySelector("[data-role=divergence]").textContent = `KL(${first} ‖ ${second})`;

  root.querySelector(".ticks").replaceChildren(...data.ticks.map((tick) => {
    const mark = element("span", "", String(tick));
    mark.style.setProperty("--at", nearest(data.stops, tick) / (data.stops.length - 1));
    return mark;
  }));

  instance.order = order;
  instance.label = label;
  instance.bars = [];
  root.querySelector(".rows").replaceChildren(...groups.map((group) => {
    const row = element("li");
    row.dataset.class = group.name;
    if (group.rest) row.dataset.rest = group.rest;
    const name = element("span", "name", group.name);
    name.title = group.name;
    const bars = element("span", "bars");
    for (const role of ROLES) {
      const bar = element("span", "bar");
      bar.dataset.role = role;
      const before = sum(atOne[role], group.members);
      bar.dataset.atOne = before;
      const value = element("span", "value");
      bar.append(element("span", "unseen", `${titles[role]}: `), element("span", "fill"));
      if (role !== "label") {
        const ghost = element("span", "ghost");
        ghost.style.setProperty("--p", before);
        bar.append(ghost);
      }
      bar.append(value);
      bars.append(bar);
      instance.bars.push({ bar, role, members: group.members, value });
    }
    row.append(name, bars);
    return row;
  }));
}

// The rows: every class in its own order, or of many the teacher's likeliest, the true one, and all others in one.
function grouped(classes, order, truth) {
  const single = (place) => ({ name: classes[place], members: [place], rest: 0 });
  if (classes.length <= SHOWN) return classes.map((_, place) => single(place));
  const shown = order.slice(0, SHOWN);
  if (!shown.includes(truth)) shown.push(truth);
  const members = order.filter((place) => !shown.includes(place));
  if (members.length === 0) return shown.map(single);
  const name = members.length === 1 ? "the other one" : `the other ${members.length} together`;
  return [...shown.map(single), { name, members, rest: members.length }];
}

// What depends on T: called at every movement of the slider.
function draw(instance) {
  const { root, data, temperature } = instance;
  const teacher = logSoftmax(data.teacher, temperature);
  const student = logSoftmax(data.student, temperature);
  const probabilities = { label: instance.label, teacher: teacher.map(Math.exp), student: student.map(Math.exp) };
  for (const { bar, role, members, value } of instance.bars) {
    const probability = sum(probabilities[role], members);
    bar.dataset.probability = probability;
    bar.style.setProperty("--p", probability);
    value.textContent = percent(probability);
  }

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

  const [first, second] = instance.order;
  const share = percent(probabilities.teacher[second]);
  root.querySelector("[data-sentence=dark-knowledge]").replaceChildren(...worded([
    `After ${data.classes[first]}, the ${data.titles[0].toLowerCase()} finds `, { strong: data.classes[second] },
    " most likely: ", { strong: share },
    verdict(data.label, second),
  ]));
  root.querySelector("[data-sentence=meaning]").textContent = meaning(temperature, data.classes.length);
  instance.slider.setAttribute("aria-valuetext", `T = ${temperature}; ${data.classes[second]}: ${share}`);
}

function verdict(label, second) {
  if (label === null) return ".";
  if (label === second) return ", and the hard label says that it is right.";
  return ". The hard label gives it 0%: that is dark knowledge.";
}

function meaning(temperature, count) {
  if (temperature < 1) return "Below T = 1 the top class takes what the others had; as T → 0 only it is left.";
  if (temperature === 1) return "At T = 1 these are the networks' own probabilities, not softened.";
  if (temperature < 10) return "Above T = 1 small probabilities grow, and how they compare can be seen.";
  return `As T → ∞ every class tends to 1/${count} = ${percent(1 / count)}: the differences fade.`;
}

// At least two digits of a small quantity: what T² multiplies must not read as nothing.
function figure(value) {
  if (value === 0 || value >= 0.01) return value.toFixed(3);
  return value < 0.000001 ? "<0.000001" : String(Number(value.toPrecision(2)));
}

// At least two digits of a small probability, so that it can be seen growing.
function percent(probability) {
  const value = 100 * probability;
  if (value === 0 || value === 100) return `${value}%`;
  if (value < 0.0001) return "<0.0001%";
  if (value < 1) return `${Number(value.toPrecision(2))}%`;
  // 99.99966 must not read as a certainty.
  return `${value > 99.9 ? Math.min(99.9999, Number(value.toFixed(4))) : value.toFixed(1)}%`;
}

function sum(values, places) {
  return places.reduce((total, place) => total + values[place], 0);
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
