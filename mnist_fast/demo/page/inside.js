// What the convolutions make of the drawing: feature maps, and which position of each pooling window won.

const TILES_ACROSS = 8;
const NOTHING = 255; // ReLU lets no value through
// For as many positions as the networks' windows have; told apart also by those who see red as green.
const COLOURS = ["#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3", "#a6d854", "#ffd92f", "#e5c494", "#b3b3b3", "#80b1d3"];

/** Fills ``container`` with two pictures for each layer as the server describes it. */
export function showLayers(container, layers) {
  container.replaceChildren(...layers.flatMap(layerFigures));
}

function layerFigures({ name, shape, maps, winners, positions }) {
  const some = shape.count < shape.of ? `${shape.count} of ${shape.of}` : shape.count;
  const grey = bytes(maps, (level) => [level, level, level]);
  const figures = [figure(grey, shape, `${name}: ${some} feature maps, ${shape.height}×${shape.width}`)];
  if (winners !== null) {
    const palette = COLOURS.map((colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)));
    const coloured = bytes(winners, (code) => (code === NOTHING ? [0, 0, 0] : palette[code % palette.length]));
    const what = positions > 1 ? `which of ${positions} positions won its window` : "what ReLU lets through";
    figures.push(figure(coloured, shape, `${name}: ${what}${positions > 1 ? "; black: ReLU gives 0" : ""}`));
  }
  return figures;
}

/** Base64 as colours: lists of red, green and blue. */
function bytes(text, colour) {
  return Array.from(atob(text), (character) => colour(character.charCodeAt(0)));
}

/** The tiles in rows, a pixel for each value and one between tiles. */
function figure(colours, { count, height, width }, caption) {
  const across = Math.min(TILES_ACROSS, count);
  const canvas = document.createElement("canvas");
  canvas.width = across * (width + 1) - 1;
  canvas.height = Math.ceil(count / across) * (height + 1) - 1;
  const image = new ImageData(canvas.width, canvas.height);
  colours.forEach((colour, index) => {
    const [tile, place] = [Math.floor(index / (height * width)), index % (height * width)];
    const x = (tile % across) * (width + 1) + (place % width);
    const y = Math.floor(tile / across) * (height + 1) + Math.floor(place / width);
    image.data.set([...colour, 255], 4 * (y * canvas.width + x));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.role = "img";
  canvas.ariaLabel = caption;
  const [element, label] = ["figure", "figcaption"].map((tag) => document.createElement(tag));
  label.textContent = caption;
  element.append(canvas, label);
  return element;
}
