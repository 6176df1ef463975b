// A square to draw on with mouse, finger or pen.

const PEN = 0.075; // width of a stroke; it and all points are parts of the square's side
const PICTURE_SIDE = 280; // pixels of what toPNG gives

/**
 * Strokes on a canvas element. Fires "draw" whenever the drawing changes and "rest" when a stroke, an undo or a clear
 * is done.
 */
export class Pad extends EventTarget {
  #canvas;
  #strokes = []; // lists of points [x, y]; never changed but by the stroke that is being drawn
  #earlier = []; // what #strokes was before each stroke and each clear
  #pointer = null; // that is drawing

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#start(event));
    canvas.addEventListener("pointermove", (event) => this.#extend(event));
    canvas.addEventListener("pointerup", (event) => this.#finish(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // of a finger that rests
    new ResizeObserver(() => this.#show()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#show());
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  get canUndo() {
    return this.#earlier.length > 0;
  }

  /** Takes back the last stroke, or the last clear. */
  undo() {
    if (!this.canUndo) return;
    this.#pointer = null;
    this.#strokes = this.#earlier.pop();
    this.#changed("draw", "rest");
  }

  clear() {
    if (this.isEmpty) return;
    this.#pointer = null;
    this.#earlier.push(this.#strokes);
    this.#strokes = [];
    this.#changed("draw", "rest");
  }

  /** The drawing as a PNG file, black on white whatever the page's colours are; a promise of a Blob. */
  toPNG() {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = PICTURE_SIDE;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, PICTURE_SIDE, PICTURE_SIDE);
    paint(context, this.#strokes, "#000");
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  #start(event) {
    if (this.#pointer !== null || event.button !== 0) return; // a second finger, another button
    event.preventDefault(); // no selection of text
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId); // strokes may leave the square and come back
    this.#earlier.push(this.#strokes);
    this.#strokes = [...this.#strokes, [this.#point(event)]];
    this.#changed("draw");
  }

  #extend(event) {
    if (event.pointerId !== this.#pointer) return;
    const between = event.getCoalescedEvents?.() ?? []; // a pen moves more often than the screen is drawn
    this.#strokes.at(-1).push(...(between.length ? between : [event]).map((each) => this.#point(each)));
    this.#changed("draw");
  }

  #finish(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#changed("rest");
  }

  /** The system took the pointer for something else, which was no stroke. */
  #cancel(event) {
    if (event.pointerId === this.#pointer) this.undo();
  }

  #point(event) {
    const area = this.#canvas.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  }

  #changed(...events) {
    this.#show();
    for (const name of events) this.dispatchEvent(new Event(name));
  }

  #show() {
    const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    this.#canvas.width = this.#canvas.height = side; // clears it as well
    paint(this.#canvas.getContext("2d"), this.#strokes, getComputedStyle(this.#canvas).color);
  }
}

/** Strokes over the whole of a square canvas, as smooth curves through the middles between their points. */
function paint(context, strokes, colour) {
  const side = context.canvas.width;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN * side;
  context.strokeStyle = colour;
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * side, y * side]);
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const [[x, y], [nextX, nextY]] = [points[i], points[i + 1]];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    const [x, y] = points.at(-1);
    context.lineTo(x + 0.01, y); // a line of no length would leave nothing of a dot
    context.stroke();
  }
}
