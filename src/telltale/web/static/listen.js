// News from the server (server-sent events), for as long as the page is seen: a browser has six connections to a server
// for all of its tabs.
const FIRST_PAUSE_S = 2;
const LONGEST_PAUSE_S = 60;

// `heard` has what to do with each kind of event. A stream that is cut off the browser opens again by itself. One that
// is refused (too many are open, or a proxy answers while the server is started anew) it gives up for good: that one is
// opened again here, after a pause, and `onRefused` asks meanwhile in the ordinary way. Returns what ends it all.
export function listen(address, heard, onRefused) {
  let events = null;
  let pause_s = FIRST_PAUSE_S;
  let timer;

  const close = () => {
    clearTimeout(timer);
    events?.close();
    events = null;
  };
  const refused = () => {
    if (events?.readyState !== EventSource.CLOSED) return;
    close();
    timer = setTimeout(open, 1000 * pause_s);
    pause_s = Math.min(2 * pause_s, LONGEST_PAUSE_S);
    onRefused();
  };
  const open = () => {
    if (document.hidden) return close();
    if (events) return;
    clearTimeout(timer);
    events = new EventSource(address);
    for (const [kind, hear] of Object.entries(heard)) events.addEventListener(kind, hear);
    events.addEventListener("open", () => (pause_s = FIRST_PAUSE_S));
    events.addEventListener("error", refused);
  };
  open();
  document.addEventListener("visibilitychange", open);
  addEventListener("pageshow", open);
  addEventListener("pagehide", close);
  return close;
}
