// Softmax, entropy, divergence and gradients, and how their numbers are written.

// log softmax(z / T). The largest logit is taken off first, so no exponential overflows at any T.
function logSoftmax(logits, temperature) {
  const largest = Math.max(...logits);
  const shifted = logits.map((logit) => (logit - largest) / temperature);
  const total = Math.log(shifted.reduce((sum, value) => sum + Math.exp(value), 0));
  return shifted.map((value) => value - total);
}

function softmax(logits, temperature) {
  return logSoftmax(logits, temperature).map(Math.exp);
}

// -sum p ln p, in nats.
function entropy(logs) {
  return logs.reduce((sum, log) => sum - Math.exp(log) * log, 0);
}

// KL(teacher || student), in nats; rounding may take equal distributions below 0.
function divergence(teacher, student) {
  return Math.max(0, teacher.reduce((sum, log, place) => sum + Math.exp(log) * (log - student[place]), 0));
}

// Of T² KL(teacher || student) with respect to the student's logits: T (p_s - p_t).
function teacherGradient(teacher, student, temperature) {
  const wanted = softmax(teacher, temperature);
  return softmax(student, temperature).map((share, place) => temperature * (share - wanted[place]));
}

// Of the cross-entropy with a hard label: p_s - y, at T = 1.
function labelGradient(student, truth) {
  return softmax(student, 1).map((share, place) => share - (place === truth ? 1 : 0));
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

function signed(value) {
  const size = Math.abs(value);
  if (size < 0.0005) return "0";
  return `${value < 0 ? "−" : "+"}${size < 0.01 ? size.toFixed(3) : size.toFixed(2)}`;
}

function sum(values, places) {
  return places.reduce((total, place) => total + values[place], 0);
}
