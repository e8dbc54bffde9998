// What the page does beyond plain HTML: it shows how an ID is understood while it is typed, and lets the browser
// work before the form is sent. All words come from the page or from Knock, in the visitor's language.

const form = document.querySelector("form[data-knock]");
const field = form.elements.matrix_id;
const absolute = (address) => new URL(address, document.baseURI).href;

// --- how the ID is understood

const said = document.getElementById("matrix_id-check");
let timer;
let asked = 0;

async function check(event) {
  clearTimeout(timer);
  const number = ++asked;
  const typed = field.value.trim();
  const answer = typed ? await understood(typed) : null;
  if (number !== asked) return;
  // While somebody types, what is not yet an ID is no mistake.
  const telling = answer && (answer.good || event.type === "change");
  said.textContent = telling ? answer.text : "";
  said.classList.toggle("good", Boolean(answer?.good));
  if (answer?.good) forgive();
}

async function understood(typed) {
  try {
    const body = new URLSearchParams({ matrix_id: typed });
    const response = await fetch(absolute(form.dataset.check), { method: "POST", body });
    return response.ok ? await response.json() : null;
  } catch {
    return null; // without an answer the form still says what is wrong once it is sent
  }
}

function forgive() {
  field.removeAttribute("aria-invalid");
  field.setAttribute("aria-describedby", "matrix_id-hint");
  document.getElementById("matrix_id-wrong")?.remove();
}

field.addEventListener("input", (event) => {
  clearTimeout(timer);
  asked += 1;
  said.textContent = "";
  timer = setTimeout(check, 400, event);
});
field.addEventListener("change", check);

// --- work before it is sent

const KEEPS = 10 * 60 * 1000; // shorter than a challenge lives
let work = null;
let began = 0;
let ready = false;

function proof() {
  if (!work || Date.now() - began > KEEPS) {
    began = Date.now();
    work = solved().catch(() => ""); // whoever cannot work is looked at by a moderator
  }
  return work;
}

async function solved() {
  if (!window.isSecureContext) return "";
  await import(absolute(form.dataset.widget));
  globalThis.$altcha.algorithms.set("PBKDF2/SHA-256", () => new Worker(absolute(form.dataset.worker)));
  const widget = document.createElement("altcha-widget");
  widget.hidden = true;
  const settings = { humanInteractionSignature: false, minDuration: 0, timeout: 60_000 };
  widget.setAttribute("display", "invisible");
  widget.setAttribute("challenge", absolute(form.dataset.challenge));
  widget.setAttribute("configuration", JSON.stringify(settings));
  const loaded = new Promise((resolve) => widget.addEventListener("load", resolve, { once: true }));
  document.body.append(widget);
  await loaded;
  const result = await widget.verify();
  widget.remove();
  return result?.payload ?? "";
}

form.addEventListener("focusin", proof, { once: true });
form.addEventListener("submit", async (event) => {
  if (ready) return;
  event.preventDefault();
  if (form.hasAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  const patience = setTimeout(() => {
    form.querySelector(".waiting").textContent = form.dataset.waiting;
  }, 300);
  form.elements.proof.value = await proof();
  clearTimeout(patience);
  ready = true;
  // Not within the event: while it is fired, a form ignores that it is asked to submit.
  setTimeout(() => form.requestSubmit());
});

// Whoever comes back by the browser's own button finds the form as it was, with its work spent.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  work = null;
  ready = false;
  form.removeAttribute("aria-busy");
  form.querySelector(".waiting").textContent = "";
});
