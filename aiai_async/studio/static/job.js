// A job's page: how it stands, its newest images, what went wrong; told whenever that has changed.

import { listen } from "./connection.js";
import { announce, byId, make, setText, show } from "./dom.js";
import { refreshView, view } from "./viewer.js";
import { count, dollars, duration, number, shorten, size } from "./words.js";

const STATES = {
  done: "done",
  unfinished: "under way",
  not_downloaded: "not downloaded",
  failed_for_now: "failed for now",
  failed: "failed",
  unknown: "unknown",
  pending: "not sent",
};
const pictures = new Map();
let job = null;
let shownView = null;

function readFolder() {
  const text = location.pathname.replace(/^\/jobs\/?/, "");
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function take(message) {
  setText(byId("folder"), message.folder);
  show(byId("about"), true);
  setText(byId("times"), "");
  show(byId("problem"), message.type === "problem");
  show(byId("job"), message.type === "job");
  if (message.type === "problem") {
    setText(byId("problem-words"), message.message);
    show(byId("state"), false);
    job = null;
    return;
  }
  const before = job;
  job = message;
  setText(byId("times"), describeTimes());
  showState();
  showBar();
  showTiles();
  showFailures();
  showNewest();
  refreshView(items());
  if (before?.is_running && !job.is_running) announce(`The run has ended: ${describeCounts()}`);
}

function describeState() {
  if (job.is_running) return ["running", "Running"];
  if (job.counts.done === job.total) return ["finished", "Finished"];
  return job.remaining ? ["stopped", "Stopped; the same command goes on"] : ["ended", "Ended, not all done"];
}

const describeCounts = () => `${number(job.counts.done)} of ${count(job.total, "item")} done`;

function showState() {
  const [name, words] = describeState();
  const chip = byId("state");
  chip.dataset.state = name;
  setText(chip, words);
  show(chip, true);
}

function showBar() {
  const bar = byId("bar");
  bar.setAttribute("aria-valuemax", String(job.total));
  bar.setAttribute("aria-valuenow", String(job.counts.done));
  bar.setAttribute("aria-valuetext", describeCounts());
  const shown = Object.keys(STATES).filter((state) => job.counts[state] && state !== "pending");
  for (const part of [...bar.children]) if (!shown.includes(part.dataset.state)) part.remove();
  for (const state of shown) {
    let part = bar.querySelector(`[data-state="${state}"]`);
    if (!part) {
      part = make("span", { "data-state": state });
      bar.append(part);
    }
    part.style.flexGrow = String(job.counts[state]);
    part.style.order = String(shown.indexOf(state));
  }
  bar.style.setProperty("--rest", String(job.counts.pending));
}

function showTiles() {
  const tiles = [["Done", `${number(job.counts.done)} of ${number(job.total)}`], ["Images", number(job.images)]];
  for (const state of ["unfinished", "not_downloaded", "failed_for_now", "failed", "unknown"]) {
    if (job.counts[state]) tiles.push([capital(state === "unfinished" && !job.is_running ? "unfinished" : STATES[state]), number(job.counts[state])]);
  }
  if (job.is_running) {
    tiles.push(["Images per minute", number(job.rate < 10 ? job.rate : Math.round(job.rate))]);
    if (job.eta !== null && job.remaining) tiles.push(["Left", `about ${duration(job.eta)}`]);
  }
  tiles.push(["Cost", describeCost()]);
  byId("tiles").replaceChildren(...tiles.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function describeCost() {
  if (job.cost_usd === null) return "not known";
  return `${dollars(job.cost_usd)}${job.without_cost ? ` and ${count(job.without_cost, "item")} of unknown cost` : ""}`;
}

function describeTimes() {
  if (job.first_at === null || job.last_at === null) return "";
  const format = { dateStyle: "medium", timeStyle: "short" };
  const begin = new Date(job.first_at * 1000).toLocaleString("en-GB", format);
  return job.is_running ? `· since ${begin}` : `· ${begin}, for ${duration(job.last_at - job.first_at)}`;
}

function showFailures() {
  show(byId("failures-section"), job.failures.length > 0);
  byId("failures").replaceChildren(
    ...job.failures.map((failure) =>
      make(
        "li",
        {},
        make("p", {}, make("strong", {}, STATES[failure.state] ?? failure.state), ` · row ${failure.item} · ${shorten(failure.prompt, 100)}`),
        make("p", { class: "muted" }, failure.message),
      ),
    ),
  );
}

function showNewest() {
  const list = byId("newest");
  show(byId("no-images"), job.newest.length === 0);
  if (shownView !== job.view) {
    // The studio was started anew: the images have other addresses.
    for (const entry of pictures.values()) entry.remove();
    pictures.clear();
    shownView = job.view;
  }
  const keys = job.newest.map(keyOf);
  for (const [key, entry] of pictures) {
    if (!keys.includes(key)) {
      if (entry.contains(document.activeElement)) list.parentElement.querySelector("h2").focus();
      entry.remove();
      pictures.delete(key);
    }
  }
  // From the last to the first, so that each is put before the one that follows and none is moved that needn't be.
  let next = null;
  for (const image of [...job.newest].reverse()) {
    const key = keyOf(image);
    let entry = pictures.get(key);
    if (!entry) {
      entry = toEntry(image);
      pictures.set(key, entry);
    }
    if (entry.nextElementSibling !== next || entry.parentElement !== list) list.insertBefore(entry, next);
    next = entry;
  }
}

const keyOf = (image) => `${image.item}/${image.k}`;
const addressOf = (image) => `/job-images/${job.view}/${image.item}/${image.k}`;
const describe = (image) => `Image ${image.k + 1} of row ${image.item}: “${shorten(image.prompt, 120)}”`;

function toEntry(image) {
  const button = make(
    "button",
    { type: "button", "aria-label": `Enlarge: ${describe(image)}`, onclick: () => view(items(), job.newest.findIndex((each) => keyOf(each) === keyOf(image))) },
    make("img", { src: addressOf(image), alt: describe(image), loading: "lazy", decoding: "async" }),
  );
  return make("li", {}, button, make("p", { class: "muted" }, shorten(image.prompt, 60)));
}

function items() {
  return (job?.newest ?? []).map((image) => ({
    key: keyOf(image),
    title: shorten(image.prompt, 200),
    steps: [{ src: addressOf(image), label: "image", alt: describe(image), name: image.name }],
    facts: [
      ["Row", String(image.item)],
      ["File", `${image.name}, ${size(image.size_bytes)}`],
      ...(image.at === null ? [] : [["Made", new Date(image.at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" })]]),
    ],
  }));
}

const folder = readFolder();
if (folder) {
  const name = folder.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1) || folder;
  setText(byId("title"), name);
  document.title = `${name} · job · aiai_async studio`;
  listen(`/api/job-events?folder=${encodeURIComponent(folder)}`, take);
} else {
  show(byId("chooser"), true);
  byId("choose").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = byId("where").value.trim();
    // A browser would take . and .. for steps of the address.
    const name = wanted === "." || wanted === ".." ? `./${wanted}` : wanted;
    if (wanted) location.assign(`/jobs/${encodeURIComponent(name)}`);
    else byId("where").focus();
  });
}
