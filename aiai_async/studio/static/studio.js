// The front page: the form, the cards, the limits, and what the studio tells.

import { Cards } from "./cards.js";
import { TAB, listen } from "./connection.js";
import { byId, setText, show } from "./dom.js";
import { Form } from "./form.js";
import { forgetLimits, showLimits } from "./limits.js";

const form = new Form((run) => cards.begun(run));
const cards = new Cards({ onReuse: (request) => form.fill(request) });

function take(message) {
  if (message.type === "hello") {
    setText(byId("server"), message.server);
    show(byId("server"), true);
    cards.begin(message.runs);
    setLimits(message.limits);
  } else if (message.type === "run") {
    cards.put(message.run);
  } else if (message.type === "forgotten") {
    cards.forget(message.id);
  } else if (message.type === "limits") {
    setLimits(message.limits);
  }
}

function setLimits(limits) {
  showLimits(limits);
  cards.setWaits(limits.waits);
}

for (const button of byId("ideas").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    byId("prompt").value = button.textContent;
    byId("prompt").focus();
    byId("prompt").dispatchEvent(new Event("input", { bubbles: true }));
  });
}

// On a phone the pictures come before what is known of limits.
if (matchMedia("(max-width: 55rem)").matches) byId("limits-panel").open = false;

try {
  await form.begin();
  listen(`/api/events?tab=${encodeURIComponent(TAB)}`, take, forgetLimits);
} catch (error) {
  setText(byId("banner"), `${error.message} Reload the page.`);
  show(byId("banner"), true);
}
