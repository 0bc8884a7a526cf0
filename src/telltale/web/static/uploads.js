// Uploads: two at a time, in their order, with progress; a busy server is asked again when it says so.
import { Row } from "./rows.js";
import { left, size } from "./words.js";

const AT_A_TIME = 2;
const TRIES = 8;
const WAITS = "Waiting to be sent";
const AWAY = [502, 503, 504]; // what a proxy, or the server as it is stopped, answers while it is started anew

const ask = (event) => event.preventDefault(); // whether to leave the page

export class Uploads {
  // `onArrived` gets what the server says about an upload that has arrived, `onDropped` the row that is to go.
  constructor(list, { maxBytes, maxSize, onArrived, onDropped, onTrouble, onKeyWanted }) {
    Object.assign(this, { list, maxBytes, maxSize, onArrived, onDropped, onTrouble, onKeyWanted });
    this.waiting = [];
    this.open = new Set(); // all that wait, are sent, or will be sent again
    this.n_added = 0;
    this.n_sending = 0;
    this.paused_until = 0;
  }

  add(files, fields) {
    for (const file of files) {
      const upload = { file, fields, number: (this.n_added += 1), n_lost: 0 };
      upload.row = new Row(file.name || "pasted picture", () => this.#drop(upload));
      this.list.append(upload.row.item);
      if (file.size > this.maxBytes) {
        const words = `This file has ${size(file.size)}; the server takes up to ${this.maxSize}.`;
        this.#giveUp(upload, words, words);
      } else {
        this.open.add(upload);
        addEventListener("beforeunload", ask);
        this.#wait(upload);
      }
    }
    this.#next();
  }

  // The page may be left, whatever is lost.
  letGo() {
    removeEventListener("beforeunload", ask);
  }

  #wait(upload) {
    upload.row.sending(WAITS, 0);
    this.waiting.push(upload);
    this.waiting.sort((one, other) => one.number - other.number);
  }

  #end(upload) {
    this.open.delete(upload);
    if (!this.open.size) this.letGo();
  }

  #next() {
    while (this.n_sending < AT_A_TIME && this.waiting.length && performance.now() >= this.paused_until) {
      this.#send(this.waiting.shift());
    }
  }

  #drop(upload) {
    const [was_sending, was_open] = [upload.request, this.open.has(upload)];
    this.#end(upload);
    clearTimeout(upload.timer);
    upload.request?.abort();
    this.waiting = this.waiting.filter((one) => one !== upload);
    this.onDropped(upload.row, was_open);
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
    this.n_sending += 1;
    request.upload.onprogress = ({ loaded, total }) => {
      const seconds = (performance.now() - started) / 1000;
      const rest = seconds > 1 ? left((seconds / loaded) * (total - loaded)) : "";
      const parts = [`Sending, ${size(loaded)} of ${size(total)}`, loaded < total ? rest : ""];
      upload.row.sending(parts.filter(Boolean).join(" · "), loaded / total);
    };
    request.onload = () => {
      this.#answered(upload, request);
      this.#free(upload);
    };
    request.onerror = () => {
      this.#lost(upload, "The connection was lost");
      this.#free(upload);
    };
    request.open("POST", "/api/v1/scans");
    request.responseType = "json";
    request.send(form);
  }

  #answered(upload, request) {
    const answer = request.response;
    if (request.status === 202) {
      this.#end(upload);
      this.onArrived(answer, upload.row);
    } else if (request.status === 429) {
      // No room for one is no room for the others: none is sent before the time given.
      const seconds = Number(request.getResponseHeader("Retry-After")) || 5;
      this.paused_until = Math.max(this.paused_until, performance.now() + 1000 * seconds);
      this.#wait(upload);
      this.#pause();
    } else if (request.status === 401) {
      this.onKeyWanted();
    } else if (AWAY.includes(request.status)) {
      this.#lost(upload, "The server does not answer");
    } else {
      const words = answer?.detail ? `${answer.title}: ${answer.detail}.` : `The server answered ${request.status}.`;
      this.#giveUp(upload, words, words);
    }
  }

  #pause() {
    clearTimeout(this.timer);
    const rest_ms = this.paused_until - performance.now();
    if (rest_ms <= 0) return this.#next();
    const [first, ...others] = this.waiting;
    first?.row.sending(`The server is busy; sent again in ${Math.ceil(rest_ms / 1000)} s`, null);
    for (const { row } of others) row.sending(WAITS, 0); // one of them may have been the first before
    this.timer = setTimeout(() => this.#pause(), Math.min(1000, rest_ms));
  }

  #lost(upload, why) {
    upload.n_lost += 1;
    if (upload.n_lost >= TRIES) {
      return this.#giveUp(upload, `${why}. Not sent after ${TRIES} attempts; choose the file once more.`, `${why}.`);
    }
    const tick = (rest) => {
      if (rest <= 0) {
        this.#wait(upload);
        this.#next();
        return;
      }
      upload.row.sending(`${why}; sent again in ${rest} s`, null);
      upload.timer = setTimeout(tick, 1000, rest - 1);
    };
    tick(Math.min(30, 2 ** upload.n_lost));
  }

  #giveUp(upload, words, aloud) {
    this.#end(upload);
    upload.row.trouble(words);
    this.onTrouble(`${upload.row.title}: ${aloud}`);
  }
}
