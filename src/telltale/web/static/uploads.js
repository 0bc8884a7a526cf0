// Uploads: two at a time, with progress; a busy server is asked again when it says so.
import { Row } from "./rows.js";
import { left, size } from "./words.js";

const AT_A_TIME = 2;
const TRIES = 8;

export class Uploads {
  // `onArrived` gets what the server says about an upload that has arrived.
  constructor(list, { maxBytes, maxSize, onArrived, onTrouble }) {
    Object.assign(this, { list, maxBytes, maxSize, onArrived, onTrouble });
    this.waiting = [];
    this.n_sending = 0;
  }

  add(files, fields) {
    for (const file of files) {
      const upload = { file, fields, tries: 0 };
      upload.row = new Row(file.name || "pasted picture", () => this.#drop(upload));
      this.list.append(upload.row.item);
      if (file.size > this.maxBytes) {
        upload.is_over = true;
        upload.row.trouble(`This file has ${size(file.size)}; the server takes up to ${this.maxSize}.`);
      } else {
        upload.row.sending("Waiting to be sent", 0);
        this.waiting.push(upload);
      }
    }
    this.#next();
  }

  #next() {
    while (this.n_sending < AT_A_TIME && this.waiting.length) this.#send(this.waiting.shift());
  }

  #drop(upload) {
    const was_sending = upload.request && !upload.is_over;
    upload.is_over = true;
    clearTimeout(upload.timer);
    upload.request?.abort();
    this.waiting = this.waiting.filter((one) => one !== upload);
    upload.row.item.remove();
    if (was_sending) this.#free(upload);
  }

  #free(upload) {
    upload.request = null;
    this.n_sending -= 1;
    this.#next();
  }

  #send(upload) {
    const form = new FormData();
    for (const [name, value] of Object.entries(upload.fields)) form.append(name, value);
    form.append("file", upload.file, upload.file.name || "pasted picture");
    const request = new XMLHttpRequest();
    const started = performance.now();
    upload.request = request;
    upload.tries += 1;
    this.n_sending += 1;
    request.upload.onprogress = ({ loaded, total }) => {
      const seconds = (performance.now() - started) / 1000;
      const rest = seconds > 1 ? left((seconds / loaded) * (total - loaded)) : "";
      const parts = [`Sending, ${size(loaded)} of ${size(total)}`, loaded < total ? rest : ""];
      upload.row.sending(parts.filter(Boolean).join(" · "), loaded / total);
    };
    request.onload = () => {
      this.#free(upload);
      this.#answered(upload, request);
    };
    request.onerror = () => {
      this.#free(upload);
      this.#later(upload, Math.min(30, 2 ** upload.tries), "The connection was lost");
    };
    request.open("POST", "/api/v1/scans");
    request.responseType = "json";
    request.send(form);
  }

  #answered(upload, request) {
    const answer = request.response;
    if (request.status === 202) {
      upload.is_over = true;
      this.onArrived(answer, upload.row);
    } else if (request.status === 429) {
      this.#later(upload, Number(request.getResponseHeader("Retry-After")) || 5, "The server is busy");
    } else if (request.status === 401) {
      location.reload();
    } else {
      upload.is_over = true;
      const words = answer?.detail ? `${answer.title}: ${answer.detail}.` : `The server answered ${request.status}.`;
      upload.row.trouble(words);
      this.onTrouble(`${upload.row.title}: ${words}`);
    }
  }

  #later(upload, seconds, why) {
    if (upload.tries >= TRIES) {
      upload.is_over = true;
      upload.row.trouble(`${why}. Not sent after ${TRIES} attempts; choose the file once more.`);
      this.onTrouble(`${upload.row.title}: ${why}.`);
      return;
    }
    const tick = (rest) => {
      if (rest <= 0) {
        this.waiting.push(upload);
        this.#next();
        return;
      }
      upload.row.sending(`${why}; sent again in ${rest} s`, null);
      upload.timer = setTimeout(tick, 1000, rest - 1);
    };
    tick(Math.ceil(seconds));
  }
}
