// The page: sends the drawing to the server while it grows, and shows what comes back.

import { showLayers } from "./inside.js";
import { Pad } from "./pad.js";

const MANY = 12; // classes, above which their bars stand in two columns
const TIMEOUT = 10_000; // milliseconds

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;

const pad = new Pad(element("pad"));
let networks = [];
let bars = [];

function showNetwork() {
  const { arch, classes, dataset, test_accuracy: accuracy } = networks[element("network").value];
  const digits = classes.every((name) => /^\d$/.test(name));
  document.querySelector("h1").textContent = digits ? "Draw a digit" : "Draw a picture";
  const facts = [`Network ${arch}`, dataset && `trained on ${dataset}`];
  facts.push(accuracy != null && `${percent(accuracy)} of the test images right`);
  element("about").textContent = `${facts.filter(Boolean).join(", ")}.`;
  element("classes").classList.toggle("many", classes.length > MANY);
  bars = classes.map(makeBar);
  element("classes").replaceChildren(...bars.map(({ row }) => row));
}

function makeBar(name) {
  const [row, label, meter, fill, share] = ["li", "span", "div", "div", "span"].map((tag) => document.createElement(tag));
  [label.className, meter.className, fill.className, share.className] = ["name", "meter", "fill", "share"];
  label.textContent = label.title = name;
  meter.setAttribute("role", "meter");
  meter.setAttribute("aria-label", name);
  meter.setAttribute("aria-valuemin", 0);
  meter.setAttribute("aria-valuemax", 100);
  label.ariaHidden = share.ariaHidden = "true"; // the meter says both
  meter.append(fill);
  row.append(label, meter, share);
  return { row, meter, fill, share };
}

/** Probabilities and pixels as the server gives them; null: nothing is drawn. */
function showAnswer(answer) {
  const probabilities = answer?.probabilities ?? bars.map(() => 0);
  const likeliest = answer ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  bars.forEach(({ row, meter, fill, share }, index) => {
    const value = probabilities[index];
    row.classList.toggle("likeliest", index === likeliest);
    meter.setAttribute("aria-valuenow", (100 * value).toFixed(1));
    meter.setAttribute("aria-valuetext", percent(value));
    fill.style.transform = `scaleX(${value})`;
    share.textContent = answer ? percent(value) : "";
  });
  const name = answer ? networks[element("network").value].classes[likeliest] : "";
  element("label").textContent = name || "–";
  element("label").classList.toggle("long", name.length > 3);
  element("certainty").textContent = answer ? percent(probabilities[likeliest]) : "";
  showInput(answer?.input ?? []);
  showLayers(element("layers"), answer?.layers ?? []);
}

function showInput(pixels) {
  const context = element("input").getContext("2d");
  const image = context.createImageData(28, 28);
  pixels.forEach((level, index) => image.data.set([level, level, level, 255], 4 * index));
  context.putImageData(image, 0, 0);
}

function showDrawing() {
  element("hint").hidden = !pad.isEmpty;
  element("undo").disabled = !pad.canUndo;
  element("clear").disabled = pad.isEmpty;
}

async function ask(path, options) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

let outdated = false; // what is shown is not of the newest drawing
let updating = null; // the promise of the update that is under way

/** Brings the answer up to date: one question at a time, and after it one about what was drawn meanwhile. */
function update() {
  outdated = true;
  updating ??= untilCurrent().finally(() => (updating = null));
  return updating;
}

async function untilCurrent() {
  element("answer").ariaBusy = "true";
  while (outdated) {
    outdated = false;
    await updateOnce();
  }
  element("answer").ariaBusy = "false";
}

async function updateOnce() {
  if (pad.isEmpty) {
    showAnswer(null);
    element("trouble").textContent = "";
    return;
  }
  const network = element("network").value;
  const question = `classify?network=${network}${element("inside").open ? "&inside=1" : ""}`;
  const start = performance.now();
  try {
    const headers = { "Content-Type": "image/png" };
    const answer = await ask(question, { method: "POST", headers, body: await pad.toPNG() });
    if (network !== element("network").value || pad.isEmpty) return;
    showAnswer(answer);
    element("time").textContent = `Answered in ${Math.round(performance.now() - start)} ms.`;
    element("trouble").textContent = "";
  } catch (error) {
    const lost = error instanceof TypeError || error.name === "TimeoutError";
    element("trouble").textContent = lost ? "No answer: is mnist-fast demo still running?" : error.message;
  }
}

/** For those who listen: once for each stroke, not for each point of it. */
async function speak() {
  await update();
  const [name, certainty] = [element("label").textContent, element("certainty").textContent];
  element("spoken").textContent = pad.isEmpty ? "Nothing drawn" : `${name}, ${certainty}`;
}

function onKey(event) {
  if (event.target.tagName === "SELECT" || event.altKey) return; // letters choose there
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" || event.shiftKey) return;
    pad.undo();
  } else if (key === "z") {
    pad.undo();
  } else if (key === "c" || key === "escape") {
    pad.clear();
  } else {
    return;
  }
  event.preventDefault();
}

async function start() {
  ({ networks } = await ask("networks"));
  element("network").replaceChildren(...networks.map(({ name }, index) => new Option(name, index)));
  element("network").addEventListener("change", () => {
    showNetwork();
    speak();
  });
  element("undo").addEventListener("click", () => pad.undo());
  element("clear").addEventListener("click", () => pad.clear());
  element("inside").addEventListener("toggle", update);
  addEventListener("keydown", onKey);
  pad.addEventListener("draw", showDrawing);
  pad.addEventListener("draw", update);
  pad.addEventListener("rest", speak);
  showNetwork();
  showDrawing();
  update();
}

start();
