// Numbers and progress in words.
export function visible(text) {
  // Controls and characters that turn text round, as on the pages the server makes.
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu, (char) => {
    const hex = char.codePointAt(0).toString(16);
    return hex.length <= 2 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`;
  });
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  let value = bytes;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    value /= 1000;
    if (value < 999.5 || unit === "TB") return `${value.toFixed(value < 99.5 ? 1 : 0)} ${unit}`;
  }
}

export function left(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "";
  if (seconds < 2) return "almost done";
  if (seconds < 90) return `about ${Math.ceil(seconds)} s left`;
  return `about ${Math.ceil(seconds / 60)} min left`;
}

export function stage(entry) {
  const { stage: at, frames, ahead, left_s } = entry.progress;
  if (at === "waiting") return ahead ? `Waiting for its turn, ${ahead} before it` : "Waiting for its turn";
  if (at === "starting") return "Reading the file";
  const parts = [`Looking at faces, ${frames} frame${frames === 1 ? "" : "s"} so far`];
  if (left(left_s)) parts.push(left(left_s));
  return parts.join(" · ");
}

// Why a request came to nothing, in the server's own words where it has some.
export async function why(answer) {
  if (!answer) return "the server does not answer";
  const problem = await answer.json().catch(() => null);
  return problem?.detail ?? `the server answered ${answer.status}`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(time) {
  const seconds = (Date.now() - time.getTime()) / 1000;
  if (seconds < 45) return "just now";
  for (const [unit, length, most] of [["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, 30]]) {
    if (seconds < length * most) return relative.format(-Math.max(1, Math.round(seconds / length)), unit);
  }
  return time.toLocaleDateString("en", { dateStyle: "medium" });
}
