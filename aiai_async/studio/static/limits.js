// The panel of limits: what the scheduler knows, and why something waits. It changes each second, so it isn't read out.

import { byId, make, setText } from "./dom.js";
import { duration, number } from "./words.js";

const SOURCES = { declared: "set by you", learned: "said by the server", discovered: "found by its refusals" };

/** Say that nothing is known: nobody is there who could. */
export function forgetLimits() {
  setText(byId("limits-brief"), "");
  byId("limits-panel").classList.remove("waits");
  byId("limits").replaceChildren(make("p", { class: "muted" }, "The studio doesn’t answer."));
}

export function showLimits(limits) {
  const { waiting, in_flight: inFlight, words } = limits;
  const brief = words ?? (waiting || inFlight ? `${inFlight} under way${waiting ? `, ${waiting} waiting` : ""}` : "nothing waits");
  setText(byId("limits-brief"), brief);
  byId("limits-panel").classList.toggle("waits", Boolean(words));
  const queues = limits.queues.filter((queue) => queue.limits.length || queue.waiting || queue.in_flight || queue.reason);
  const panel = byId("limits");
  if (!queues.length) {
    panel.replaceChildren(make("p", { class: "muted" }, "No limit is known. They are learned from the server’s answers, and from its refusals."));
    return;
  }
  panel.replaceChildren(...queues.map(toQueue));
}

function toQueue(queue) {
  return make(
    "section",
    { class: "queue" },
    make("h3", {}, queue.model ?? "the server’s model"),
    make("p", { class: "muted" }, `${queue.in_flight} under way, ${queue.waiting} waiting`),
    queue.waiting_for ? make("p", { class: "why" }, describeWait(queue)) : null,
    queue.reason ? make("p", { class: "why" }, `Paused${queue.paused_for === null ? "" : ` for ${duration(queue.paused_for)}`}: ${queue.reason}`) : null,
    queue.limits.length ? make("ul", {}, ...queue.limits.map(toLimit)) : make("p", { class: "muted" }, "No limit is known yet."),
  );
}

const describeWait = (queue) => `Waits for ${queue.waiting_for}${queue.next_in === null ? "" : `; the next goes in ${duration(queue.next_in)}`}`;

function toLimit(limit) {
  const name = nameOf(limit);
  const left = limit.remaining === null ? `${number(limit.limit)}` : `${number(limit.remaining)} of ${number(limit.limit)} left`;
  const reset = limit.resets_in ? ` · whole again in ${duration(limit.resets_in)}` : "";
  return make(
    "li",
    {},
    make("span", { class: "name" }, name),
    make("span", { class: "left" }, left),
    limit.remaining === null
      ? null
      : make("meter", { min: "0", max: String(limit.limit), low: String(limit.limit * 0.2), ".value": limit.remaining, "aria-label": `${name}: ${left}` }),
    make("span", { class: "muted source" }, (SOURCES[limit.source] ?? limit.source) + reset),
  );
}

function nameOf(limit) {
  if (limit.name === "concurrency") return "Requests at once";
  const name = limit.name.charAt(0).toUpperCase() + limit.name.slice(1);
  if (limit.window === null) return name;
  if (limit.window === 60) return `${name} per minute`;
  return `${name} per ${duration(limit.window)}`;
}

