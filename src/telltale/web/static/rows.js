// One row of the list: an upload on its way, a scan under way, or a verdict.
import { ago, size, stage, visible } from "./words.js";

const NAMES = JSON.parse(document.getElementById("words").content.textContent);
const SVG = "http://www.w3.org/2000/svg";

function element(tag, classes = "", text = "") {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}

function svg(classes, ...shapes) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", classes);
  made.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    made.append(shape);
  }
  return made;
}

const glyph = (label) => svg("glyph", ["use", { href: `#g-${label}` }]);

function badge(label, text) {
  const made = element("span", `badge ${label}`);
  made.append(glyph(label), text);
  return made;
}

function age(at) {
  const [made, when] = [element("time"), new Date(at)];
  made.dateTime = at;
  made.title = when.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
  made.textContent = ago(when);
  return made;
}

// A page may stand open for days.
function grow() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll(".scan time")) time.textContent = ago(new Date(time.dateTime));
}
setInterval(grow, 60_000);
document.addEventListener("visibilitychange", grow);

export class Row {
  constructor(name, onRemove) {
    this.item = element("li", "scan");
    this.thumb = element("div", "thumb");
    this.name = element("p", "scan-name");
    this.line = element("p", "scan-line");
    this.verdict = element("div", "scan-verdict");
    this.button = element("button");
    this.button.type = "button";
    const cross = svg("", ["path", { d: "M4 4 14 14M14 4 4 14" }]);
    cross.setAttribute("viewBox", "0 0 18 18");
    this.button.append(cross);
    this.button.addEventListener("click", () => onRemove(this));
    const text = element("div");
    text.append(this.name, this.line);
    this.item.append(this.thumb, text, this.verdict, this.button);
    this.title = visible(name);
    this.#blank("waiting");
    this.#setName();
    this.#setButton("Cancel");
  }

  // An upload that has not arrived yet.
  sending(text, share) {
    this.line.className = "scan-line";
    this.line.replaceChildren(text);
    this.#bar(share, "Upload");
  }

  trouble(text, button = "Dismiss") {
    this.#endBar();
    this.line.className = "scan-line is-trouble";
    this.line.textContent = text;
    this.#setButton(button);
  }

  // A scan as the server tells it.
  show(entry) {
    this.entry = entry;
    this.item.dataset.id = entry.id;
    this.item.dataset.state = entry.state;
    this.line.className = "scan-line";
    const is_active = entry.state === "queued" || entry.state === "running";
    this.#setName(`/scans/${entry.id}`);
    this.#setButton(is_active ? "Cancel" : "Delete");
    if (is_active) {
      this.line.replaceChildren(stage(entry));
      this.#bar(entry.progress.share, "Analysis");
      this.verdict.replaceChildren();
      return;
    }
    this.#endBar();
    if (entry.state === "cancelled") {
      this.#blank("no_face");
      this.line.replaceChildren("Cancelled; the upload is no longer kept");
      this.verdict.replaceChildren(badge("no_face", "cancelled"));
      return;
    }
    const { label, score, reason } = entry.outcome;
    const made = element("span", "scan-when", `${size(entry.size_bytes)} · `);
    made.append(age(entry.created_at));
    this.line.replaceChildren(visible(reason), element("br"), made);
    this.verdict.replaceChildren(badge(label, NAMES[label].name));
    if (score) this.verdict.append(element("span", "scan-score", `fake score ${score}`));
    if (entry.has_thumbnail) this.#picture(`/api/v1/scans/${entry.id}/thumbnail.jpg`);
    else this.#blank(label);
  }

  #setName(href = "") {
    const bdi = element("bdi", "", this.title);
    if (!href) {
      this.name.replaceChildren(bdi);
    } else if (this.name.querySelector("a")?.getAttribute("href") !== href) {
      const link = element("a");
      link.href = href;
      link.append(bdi);
      this.name.replaceChildren(link);
    }
  }

  #setButton(word) {
    this.button.setAttribute("aria-label", `${word} ${this.title}`);
    this.button.title = word;
  }

  #bar(share, what) {
    this.bar ??= element("progress");
    this.bar.setAttribute("aria-label", `${what} of ${this.title}`);
    this.bar.max = 1;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
    if (!this.bar.isConnected) this.line.after(this.bar);
  }

  #endBar() {
    this.bar?.remove();
  }

  #blank(label) {
    const blank = element("span", `blank ${label}`);
    if (label in NAMES) blank.append(glyph(label));
    this.thumb.replaceChildren(blank);
  }

  #picture(src) {
    if (this.thumb.querySelector("img")?.getAttribute("src") === src) return;
    const image = element("img");
    image.src = src;
    image.alt = "";
    image.loading = "lazy";
    this.thumb.replaceChildren(image);
  }
}
