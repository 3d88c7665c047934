// A field to draw a digit on. When a stroke ends it is reduced as the data set was (Alpaydin and Kaynak 1998): the ink,
// scaled to the height of a bitmap of 32 x 32, is counted in blocks of 4 x 4. Python gets the 64 counts as text, one
// character from 0 to g (16) each.

const SIDE = 256, BITMAP = 32, BLOCK = 4;
const PEN = 4.5; // of a bitmap's pixels: then a digit has about as much ink as those of the data set
const instances = new WeakMap();

export default function (component) {
  const { data, parentElement: root, setStateValue } = component;
  let instance = instances.get(root);
  if (!instance) {
    instance = open(root);
    instances.set(root, instance);
  }
  instance.tell = (counts) => setStateValue("counts", counts);
  if (instance.strokes.length === 0) blocks(instance, data.counts); // a link has no strokes, but what became of them
  return () => instances.delete(root);
}

function open(root) {
  const canvas = root.querySelector("canvas");
  const instance = { canvas, pen: canvas.getContext("2d"), strokes: [], down: false };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    instance.down = true;
    instance.strokes.push([place(event)]);
    show(instance);
  };
  canvas.onpointermove = (event) => {
    if (!instance.down) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    instance.strokes.at(-1).push(...(moves.length ? moves : [event]).map(place));
    show(instance);
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (!instance.down) return;
    instance.down = false;
    instance.tell(reduced(instance.strokes));
  };
  root.querySelector("button").onclick = () => {
    instance.strokes = [];
    show(instance);
    instance.tell("");
  };
  return instance;
}

function show({ pen, strokes }) {
  pen.clearRect(0, 0, SIDE, SIDE);
  stroke(pen, strokes, 30, ([x, y]) => [x, y]);
}

function stroke(pen, strokes, width, placed) {
  pen.strokeStyle = "white";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = width;
  for (const points of strokes) {
    pen.beginPath();
    points.forEach((point, index) => (index ? pen.lineTo(...placed(point)) : pen.moveTo(...placed(point))));
    if (points.length === 1) pen.lineTo(...placed(points[0])); // a dot
    pen.stroke();
  }
}

// 64 counts from 0 to 16 of the ink in blocks of 4 x 4 pixels.
function reduced(strokes) {
  const points = strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (BITMAP - PEN) / Math.max(width, height, 1);
  const [dx, dy] = [(BITMAP - scale * width) / 2, (BITMAP - scale * height) / 2];
  const small = new OffscreenCanvas(BITMAP, BITMAP).getContext("2d");
  stroke(small, strokes, PEN, ([x, y]) => [dx + scale * (x - left), dy + scale * (y - top)]);
  const alpha = small.getImageData(0, 0, BITMAP, BITMAP).data;
  const counts = new Array((BITMAP / BLOCK) ** 2).fill(0);
  for (let y = 0; y < BITMAP; y++) {
    for (let x = 0; x < BITMAP; x++) {
      if (alpha[4 * (y * BITMAP + x) + 3] > 127) {
        counts[Math.floor(y / BLOCK) * (BITMAP / BLOCK) + Math.floor(x / BLOCK)]++;
      }
    }
  }
  return counts.map((count) => count.toString(17)).join("");
}

function blocks({ pen }, counts) {
  pen.clearRect(0, 0, SIDE, SIDE);
  const side = SIDE / (BITMAP / BLOCK);
  [...counts].forEach((character, place) => {
    const shade = Math.round((255 * parseInt(character, 17)) / BLOCK ** 2);
    pen.fillStyle = `rgb(${shade},${shade},${shade})`;
    pen.fillRect((place % 8) * side, Math.floor(place / 8) * side, side, side);
  });
}
