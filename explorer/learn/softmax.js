// Softmax with live numbers. Python sends logits once; every redraw happens here.
//
// What can be read in the DOM: input[type=range]; [data-quantity=temperature]; tbody tr[data-class] with
// data-probability; .formula and the cells have data-part (logit, scaled, power, sum, share): what the pointer or the
// focus is on lights up in both. The chosen row is tr[aria-current=true]; it alone
// is reached by Tab, the others by the arrow keys.

const instances = new WeakMap();

export default function (component) {
  const { data, parentElement: root, setStateValue } = component;
  let instance = instances.get(root);
  if (!instance) {
    instance = open(root);
    instances.set(root, instance);
  }
  instance.tell = (temperature) => setStateValue("temperature", temperature);
  if (instance.key !== JSON.stringify(data)) {
    instance.key = JSON.stringify(data);
    instance.data = data;
    instance.chosen ??= data.chosen;
    instance.temperature ??= data.temperature;
    build(instance);
    draw(instance);
  }
  return () => {
    clearTimeout(instance.timer);
    instances.delete(root);
  };
}

function open(root) {
  const instance = { root, slider: root.querySelector("input"), timer: 0 };
  instance.slider.oninput = () => {
    instance.temperature = instance.data.stops[Number(instance.slider.value)];
    draw(instance);
    clearTimeout(instance.timer);
    instance.timer = setTimeout(() => instance.tell(instance.temperature), 250);
  };
  const light = (event) => {
    const part = event.type === "pointerout" ? null : event.target.closest("[data-part]")?.dataset.part;
    for (const node of root.querySelectorAll("[data-part]")) node.classList.toggle("lit", node.dataset.part === part);
  };
  root.querySelector(".softmax").addEventListener("pointerover", light);
  root.querySelector(".softmax").addEventListener("pointerout", light);
  root.querySelector(".softmax").addEventListener("focusin", light);
  return instance;
}

function build(instance) {
  const { root, data, slider } = instance;
  slider.max = data.stops.length - 1;
  root.querySelector(".low").textContent = data.stops[0];
  root.querySelector(".high").textContent = data.stops.at(-1);
  const distances = data.stops.map((stop) => Math.abs(stop - instance.temperature));
  slider.value = distances.indexOf(Math.min(...distances));
  root.querySelector(".softmax").style.setProperty("--role", data.color);
  instance.rows = data.classes.map((name, place) => {
    const row = document.createElement("tr");
    row.dataset.class = name;
    const cells = ["", "logit", "scaled", "power", "share"].map((part) => {
      const cell = document.createElement(part ? "td" : "th");
      if (part) cell.dataset.part = part;
      else cell.scope = "row";
      return cell;
    });
    cells[0].textContent = place === data.label ? `${name} (true)` : name;
    const bar = document.createElement("span");
    bar.className = "bar";
    const value = document.createElement("span");
    cells[4].append(bar, value);
    row.append(...cells);
    const choose = () => {
      instance.chosen = place;
      draw(instance);
    };
    row.onclick = choose;
    row.onpointerenter = choose;
    row.onfocus = choose;
    row.onkeydown = (event) => {
      const next = instance.rows[place + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] ?? NaN)];
      if (!next) return;
      event.preventDefault(); // the page would scroll
      next.row.focus();
    };
    return { row, cells, bar, value };
  });
  root.querySelector("tbody").replaceChildren(...instance.rows.map((each) => each.row));
}

function draw(instance) {
  const { root, data, temperature, chosen } = instance;
  const powers = data.logits.map((logit) => Math.exp(logit / temperature));
  const sum = powers.reduce((total, power) => total + power, 0);
  instance.rows.forEach(({ row, cells, bar, value }, place) => {
    const share = powers[place] / sum;
    cells[1].textContent = signed(data.logits[place]);
    cells[2].textContent = signed(data.logits[place] / temperature);
    cells[3].textContent = figure(powers[place]);
    bar.style.width = `${100 * share * 0.6}%`;
    value.textContent = percent(share);
    row.dataset.probability = share;
    row.setAttribute("aria-current", place === chosen);
    row.tabIndex = place === chosen ? 0 : -1;
  });
  root.querySelector(".sum").textContent = figure(sum);
  root.querySelector("[data-quantity=temperature]").textContent = `T = ${temperature}`;
  instance.slider.setAttribute("aria-valuetext", `T = ${temperature}`);
  const part = (name, text) => `<span data-part="${name}">${text}</span>`;
  // Numbers and class names of our own: no text of a stranger comes here.
  root.querySelector(".formula").innerHTML =
    `p<sub>${data.classes[chosen]}</sub> = ` +
    part("power", `e<sup>${part("scaled", `${part("logit", signed(data.logits[chosen]))} / ${temperature}`)}</sup>`) +
    ` / ` + part("sum", figure(sum)) + ` = ` + part("power", figure(powers[chosen])) + ` / ` +
    part("sum", figure(sum)) + ` = ` + part("share", percent(powers[chosen] / sum));
}

function signed(value) {
  return value.toFixed(2).replace("-", "−");
}

function figure(value) {
  if (value >= 1e5) return value.toExponential(1).replace("e+", "·10^");
  if (value >= 100) return value.toFixed(0);
  if (value >= 0.01) return value.toFixed(2);
  return value < 1e-4 ? "< 0.0001" : value.toPrecision(2);
}

function percent(share) {
  const value = 100 * share;
  if (value < 0.1) return "< 0.1%";
  return value > 99.9 ? "> 99.9%" : `${value.toFixed(1)}%`;
}
