// The views with one row a class: probabilities, on a plain scale or a logarithmic one, and gradients.
//
//   .rows > li[data-class]         one row a class; the last may be "the other N together", with data-rest=N
//   .rows .bar[data-role]          label, teacher, student: data-probability at T, and data-at-one at T = 1;
//                                  of gradients data-gradient, with respect to the student's logit

const FLOOR = 1e-6; // where the logarithmic scale begins

function rowsView(instance, chart) {
  const { data, groups, titles, truth } = instance;
  const gradient = data.view === "gradient";
  const roles = !gradient ? ROLES : data.label === null ? ["teacher"] : ["label", "teacher"];
  const named = gradient
    ? { label: "Label: pₛ − y at T = 1", teacher: `${data.titles[0]}: T² · (pₛ − pₜ) / T` }
    : titles;
  const label = data.classes.map((_, place) => (place === truth ? 1 : 0));
  const atOne = { label, teacher: softmax(data.teacher, 1), student: softmax(data.student, 1) };
  const bars = [];
  const list = element("ol", "rows");
  list.dataset.density = groups.length <= 4 ? "roomy" : groups.length <= 7 ? "medium" : "dense";
  list.replaceChildren(...groups.map((group) => {
    const row = element("li");
    row.dataset.class = group.name;
    if (group.rest) row.dataset.rest = group.rest;
    const name = element("span", "name", group.name);
    name.title = group.name;
    const cell = element("span", "bars");
    for (const role of roles) {
      const bar = element("span", "bar");
      bar.dataset.role = role;
      const value = element("span", "value");
      bar.append(element("span", "unseen", `${named[role]}: `), element("span", "fill"));
      if (!gradient) {
        const before = sum(atOne[role], group.members);
        bar.dataset.atOne = before;
        if (role !== "label") {
          const ghost = element("span", "ghost");
          ghost.style.setProperty("--p", length(before, data.view));
          bar.append(ghost);
        }
      }
      bar.append(value);
      cell.append(bar);
      bars.push({ bar, role, members: group.members, value });
    }
    row.append(name, cell);
    return row;
  }));
  chart.replaceChildren(legend(gradient, named, roles), list);
  if (data.view === "log") chart.append(axis());
  if (gradient) chart.append(element("p", "scale", "Below 0, to the left, a logit is pushed up; above 0, down."));
  const reach = gradient ? steepest(data, truth) : 1;

  return (shares, temperature) => {
    const values = gradient
      ? { label: labelGradient(data.student, truth), teacher: teacherGradient(data.teacher, data.student, temperature) }
      : { label, ...shares };
    for (const { bar, role, members, value } of bars) {
      const amount = sum(values[role], members);
      if (gradient) {
        bar.dataset.gradient = amount;
        bar.style.setProperty("--p", Math.abs(amount) / reach);
        bar.classList.toggle("below", amount < 0);
      } else {
        bar.dataset.probability = amount;
        bar.style.setProperty("--p", length(amount, data.view));
      }
      value.textContent = gradient ? signed(amount) : percent(amount);
    }
  };
}

function length(probability, view) {
  if (view !== "log") return probability;
  return probability <= FLOOR ? 0 : 1 - Math.log(probability) / Math.log(FLOOR);
}

// Where the bars of a logarithmic scale stand for 0.01%, 1% and 100%.
function axis() {
  const line = element("div", "axis");
  line.setAttribute("aria-hidden", "true");
  for (const share of [1e-4, 1e-2, 1]) {
    const tick = element("span", "", percent(share));
    tick.style.setProperty("--p", length(share, "log"));
    line.append(tick);
  }
  return line;
}

// The largest gradient at any temperature of the slider: one scale for all, so that bars can be compared as they move.
function steepest({ teacher, student, stops }, truth) {
  const all = [labelGradient(student, truth), ...stops.map((stop) => teacherGradient(teacher, student, stop))];
  return Math.max(1e-9, ...all.flat().map(Math.abs));
}

function legend(gradient, named, roles) {
  const box = element("div", "legend");
  box.setAttribute("aria-hidden", "true");
  for (const role of roles) {
    const entry = element("span", "", named[role]);
    entry.dataset.role = role;
    box.append(entry);
  }
  if (!gradient) {
    const ghost = element("span", "", "at T = 1");
    ghost.dataset.role = "ghost";
    box.append(ghost);
  }
  return box;
}
