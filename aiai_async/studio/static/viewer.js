// One picture at a time, as large as the window: with the steps on the way to it, and what is known of it.

import { byId, make, setText } from "./dom.js";

let dialog = null;
let items = [];
let index = 0;
let step = 0;

/**
 * Show a picture among others.
 *
 * An item is { title, alt, steps: [{ src, label, name, note }], facts: [[term, text]] }; the last step is shown first.
 */
export function view(all, first) {
  dialog ??= build();
  items = all;
  turn(first);
  if (!dialog.open) dialog.showModal();
  byId("viewer-close").focus();
}

/** Show what has become of the items meanwhile; who looks at the newest step goes on to the next. */
export function refreshView(all) {
  if (!dialog?.open) return;
  const shown = items[index];
  const place = all.findIndex((each) => each.key === shown.key);
  if (place < 0) {
    dialog.close();
    return;
  }
  const wasLast = step === shown.steps.length - 1;
  items = all;
  index = place;
  // Steps may be gone too: the oldest pictures are dropped.
  const last = items[index].steps.length - 1;
  step = wasLast ? last : Math.min(step, last);
  draw();
}

function build() {
  const element = make(
    "dialog",
    { class: "viewer", id: "viewer", "aria-labelledby": "viewer-title" },
    make(
      "div",
      { class: "viewer-bar" },
      make("h2", { id: "viewer-title" }),
      make("p", { id: "viewer-place", class: "muted" }),
      make("button", { type: "button", id: "viewer-close", class: "plain", onclick: () => dialog.close() }, "Close"),
    ),
    make("div", { class: "viewer-stage" }, make("img", { id: "viewer-image", alt: "" })),
    make("div", { class: "viewer-steps", id: "viewer-steps", role: "group", "aria-label": "Steps of this picture" }),
    make(
      "div",
      { class: "viewer-foot" },
      make("dl", { class: "facts", id: "viewer-facts" }),
      make(
        "div",
        { class: "actions" },
        make("button", { type: "button", class: "plain", id: "viewer-before", onclick: () => turn(index - 1) }, "Previous"),
        make("button", { type: "button", class: "plain", id: "viewer-after", onclick: () => turn(index + 1) }, "Next"),
        make("a", { class: "button", id: "viewer-download" }, "Download"),
      ),
    ),
  );
  element.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft" && index > 0) turn(index - 1);
    if (event.key === "ArrowRight" && index < items.length - 1) turn(index + 1);
  });
  // Beside the picture is outside: the dialog itself has no room of its own.
  element.addEventListener("click", (event) => {
    if (event.target === element) element.close();
  });
  document.body.append(element);
  return element;
}

function turn(to) {
  index = Math.max(0, Math.min(items.length - 1, to));
  step = items[index].steps.length - 1;
  draw();
}

function draw() {
  const item = items[index];
  const shown = item.steps[step];
  setText(byId("viewer-title"), item.title);
  setText(byId("viewer-place"), items.length > 1 ? `${index + 1} of ${items.length}` : "");
  const image = byId("viewer-image");
  if (image.getAttribute("src") !== shown.src) image.src = shown.src;
  image.alt = shown.alt;
  const download = byId("viewer-download");
  download.href = shown.src;
  download.download = shown.name;
  toggle(byId("viewer-before"), index === 0);
  toggle(byId("viewer-after"), index === items.length - 1);
  byId("viewer-before").hidden = byId("viewer-after").hidden = items.length < 2;
  byId("viewer-facts").replaceChildren(
    ...item.facts.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))),
  );
  drawSteps(item);
}

/** Without taking the focus away: a button that can't be pressed any more still has it. */
function toggle(button, isOff) {
  if (isOff) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
}

function drawSteps(item) {
  const row = byId("viewer-steps");
  row.hidden = item.steps.length < 2;
  const focused = [...row.children].indexOf(document.activeElement);
  row.replaceChildren(
    ...item.steps.map((each, place) =>
      make(
        "button",
        {
          type: "button",
          "aria-pressed": String(place === step),
          onclick: () => {
            step = place;
            draw();
          },
        },
        make("img", { src: each.src, alt: "", loading: "lazy" }),
        make("span", {}, each.label),
      ),
    ),
  );
  if (focused >= 0) row.children[Math.min(focused, row.children.length - 1)].focus();
}
