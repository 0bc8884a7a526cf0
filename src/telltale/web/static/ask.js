// "Delete this scan?", as a promise. Escape and "Keep" mean no.
const dialog = document.getElementById("ask");

export function ask(name) {
  document.getElementById("ask-name").textContent = name;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
