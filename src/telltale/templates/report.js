// Choosing a face by click or arrow key. Without this script every face is still on the page, as a grid.
"use strict";
const frames = [...document.querySelectorAll(".kept img")];
const film = document.getElementById("film");
const is_still = document.querySelector(".still") !== null;
let is_ready = false;
for (const person of document.querySelectorAll(".person")) {
  const crops = [...person.querySelectorAll(".crop")];
  const viewer = person.querySelector(".viewer");
  if (!viewer || !crops.length) continue;

  const chart = person.querySelector(".chart");
  const cursor = person.querySelector(".cursor");
  const pictures = [...viewer.querySelectorAll(".crop-image")];
  const heat = viewer.querySelector(".heat");
  const shot = viewer.querySelector(".shot");
  const watch = viewer.querySelector(".watch");
  const words = viewer.querySelector(".viewer-text");
  const marks = crops.map((crop) => chart && chart.querySelector(`a[href="#${crop.id}"] use`));
  let chosen = -1;

  const show = (crop) => {
    const [face, layer] = crop.querySelectorAll("img");
    const zone = crop.className.replace("crop", "").replace("chosen", "").trim();
    for (const picture of pictures) picture.src = face.src;
    for (const picture of pictures) picture.className = `crop-image ${zone}`;
    if (heat) {
      heat.hidden = !layer;
      if (layer) heat.src = layer.src;
    }
    const frame = shot && frames[crop.dataset.frame];
    if (frame) {
      shot.querySelector("img").src = frame.src;
      const box = shot.querySelector(".shot-box");
      const sides = crop.dataset.box ? crop.dataset.box.split(" ") : [0, 0, 0, 0];
      ["x", "y", "width", "height"].forEach((name, k) => box.setAttribute(name, `${sides[k]}%`));
      box.setAttribute("class", `shot-box ${zone}`);
      const near = crop.dataset.box ? "the frame" : "the nearest frame that is kept,";
      viewer.querySelector(".shot-text").textContent = `${near} at ${frame.dataset.time}`;
    }
    if (watch) watch.href = `${watch.href.split("#")[0]}#t=${crop.dataset.seekS}`;
  };

  const choose = (index) => {
    index = Math.max(0, Math.min(crops.length - 1, index));
    if (index === chosen) return;
    if (chosen >= 0) {
      crops[chosen].classList.remove("chosen");
      if (marks[chosen]) marks[chosen].classList.remove("chosen");
    }
    chosen = index;
    const crop = crops[index];
    const { time, score, source } = crop.dataset;
    crop.classList.add("chosen");
    show(crop);
    words.replaceChildren(
      Object.assign(document.createElement("b"), { textContent: score }),
      ...(is_still ? [] : [document.createTextNode(` at ${time}`)]),
      document.createElement("br"),
      document.createTextNode(source),
    );
    if (marks[index]) {
      const x = marks[index].getAttribute("x");
      marks[index].classList.add("chosen");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.setAttribute("visibility", "visible");
    }
    if (film && is_ready) {
      film.pause();
      film.currentTime = Number(crop.dataset.seekS);
    }
    if (chart) {
      chart.setAttribute("aria-valuenow", index + 1);
      chart.setAttribute("aria-valuetext", `${time}: ${score}, ${source}`);
    }
  };

  const nearest = (event) => {
    const box = chart.getBoundingClientRect();
    const at = (100 * (event.clientX - box.left)) / box.width;
    let best = 0;
    let least = Infinity;
    marks.forEach((mark, index) => {
      const away = mark ? Math.abs(parseFloat(mark.getAttribute("x")) - at) : Infinity;
      if (away < least) [best, least] = [index, away];
    });
    return best;
  };

  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 };
  const key = (event) => {
    if (event.key in steps) choose(chosen + steps[event.key]);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(crops.length - 1);
    else return;
    event.preventDefault();
  };

  viewer.hidden = false;
  if (crops.length === 1) person.querySelector(".all-faces").hidden = true; // the viewer shows it
  if (chart) {
    // One control, not one with dozens of links inside.
    for (const link of chart.querySelectorAll("a")) link.replaceWith(...link.childNodes);
    chart.setAttribute("role", "slider");
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("aria-valuemin", 1);
    chart.setAttribute("aria-valuemax", crops.length);
    chart.addEventListener("keydown", key);
    let dragging = false;
    chart.addEventListener("pointerdown", (event) => {
      dragging = true;
      choose(nearest(event));
    });
    chart.addEventListener("pointermove", (event) => dragging && choose(nearest(event)));
    addEventListener("pointerup", () => (dragging = false));
  }
  crops.forEach((crop, index) =>
    crop.addEventListener("click", (event) => {
      event.preventDefault();
      choose(index);
    }),
  );
  for (const button of viewer.querySelectorAll("button")) {
    button.addEventListener("click", () => choose(chosen + Number(button.dataset.step)));
  }
  const named = crops.findIndex((crop) => `#${crop.id}` === location.hash);
  choose(named >= 0 ? named : crops.findIndex((crop) => crop.id === viewer.dataset.first));
}

is_ready = true;

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
