// The runs as cards, the newest first. A card is made once and then changed where something has changed, so that the
// focus stays where it is and a picture is replaced only when the next one is decoded.

import { announce, byId, make, prefersReducedMotion, setText, show } from "./dom.js";
import { TAB, send } from "./connection.js";
import { refreshView, view } from "./viewer.js";
import { count, dollars, fileName, number, seconds, shorten, size } from "./words.js";

const COPIES = [["python", "Python"], ["curl", "curl"], ["batch", "batch line"]];
const SAID_FOR = 2000;
// The height of a grid's row, in pixels; see studio.css.
const ROW = 8;

export class Cards {
  constructor({ onReuse }) {
    this.grid = byId("grid");
    this.cards = new Map();
    this.onReuse = onReuse;
    this.waits = {};
    this.told = new Map();
    this.heights = new ResizeObserver((entries) => {
      for (const { target } of entries) target.parentElement.style.gridRowEnd = `span ${Math.ceil(target.parentElement.scrollHeight / ROW)}`;
    });
    setInterval(() => this.tick(), prefersReducedMotion() ? 1000 : 100);
  }

  /** Take all runs as they are now, after the connection was made. */
  begin(runs) {
    const known = new Set(runs.map((run) => run.id));
    for (const id of this.cards.keys()) if (!known.has(id)) this.forget(id);
    for (const run of runs) this.put(run, { isNews: false });
    this.count();
  }

  put(run, { isNews = true } = {}) {
    let card = this.cards.get(run.id);
    if (!card) {
      card = new Card(run, this);
      this.cards.set(run.id, card);
      this.grid.prepend(make("div", { class: "slot" }, card.element));
      this.heights.observe(card.element);
    }
    card.update(run, isNews);
    refreshView(this.items().all);
    this.count();
  }

  /** Take a run that was just begun here. What is told of it may be here before, and is newer then. */
  begun(run) {
    if (!this.cards.has(run.id)) this.put(run, { isNews: false });
    announce(`Asked for: ${shorten(run.request.prompt, 60)}`);
    // On a phone it is below the form.
    const element = this.cards.get(run.id)?.element;
    const top = element?.getBoundingClientRect().top ?? 0;
    if (top > 0.75 * innerHeight) element.scrollIntoView({ block: "start", behavior: prefersReducedMotion() ? "auto" : "smooth" });
  }

  forget(id) {
    const card = this.cards.get(id);
    if (!card) return;
    if (card.element.contains(document.activeElement)) byId("pictures").focus();
    this.heights.unobserve(card.element);
    card.element.parentElement.remove();
    this.cards.delete(id);
    this.told.delete(id);
    refreshView(this.items().all);
    this.count();
  }

  setWaits(waits) {
    for (const [id, words] of Object.entries(waits)) {
      // Not each second that it takes, nor again when it was gone for a moment: only for something else.
      const reason = words.split(",")[0];
      if (this.told.get(id) !== reason && this.cards.get(id)?.run.tab === TAB) announce(words);
      this.told.set(id, reason);
    }
    this.waits = waits;
    this.tick();
  }

  tick() {
    for (const card of this.cards.values()) if (card.run.status === "running") card.tick();
  }

  count() {
    const running = [...this.cards.values()].filter((card) => card.run.status === "running").length;
    show(byId("empty"), this.cards.size === 0);
    setText(byId("tally"), this.cards.size ? `${count(this.cards.size, "run")}${running ? `, ${running} under way` : ""}` : "");
  }

  /** Give all pictures for the viewer, in the order of the page, and where each frame's is. */
  items() {
    const all = [];
    const places = new Map();
    for (const card of [...this.cards.values()].reverse()) {
      card.frames.forEach((frame, place) => {
        if (!frame.steps.length) return;
        places.set(frame, all.length);
        all.push(card.toItem(place));
      });
    }
    return { all, places };
  }
}

class Card {
  constructor(run, cards) {
    this.run = run;
    this.cards = cards;
    const title = `run-${run.id}`;
    this.titleId = title;
    this.frames = run.images.map((_, place) => new Frame(this, place));
    this.title = make("h3", { id: title, tabindex: "-1", title: run.request.prompt }, run.request.prompt);
    this.settings = make("p", { class: "settings muted" });
    this.status = make("p", { class: "status" });
    this.facts = make("dl", { class: "facts" });
    this.failures = make("div", { class: "failures" });
    this.revised = make("p", { class: "revised muted", ".hidden": true });
    this.cut = make("button", { type: "button", class: "cut", "aria-describedby": title, onclick: () => this.cutOff() }, "Cancel");
    this.reuse = make("button", { type: "button", class: "plain", "aria-describedby": title, onclick: () => cards.onReuse(this.run.request) }, "Use again");
    this.remove = make("button", { type: "button", class: "plain", "aria-describedby": title, onclick: () => this.forget() }, "Remove");
    this.copies = make(
      "div",
      { class: "copies", role: "group", "aria-label": "Copy as" },
      make("span", { class: "muted", "aria-hidden": "true" }, "Copy as"),
      ...COPIES.map(([kind, words]) => make("button", { type: "button", class: "plain", "aria-describedby": title, onclick: (event) => this.copy(kind, event.currentTarget) }, words)),
    );
    this.element = make(
      "article",
      { class: "run", "aria-labelledby": title },
      make("div", { class: `frames${this.frames.length > 1 ? " several" : ""}${this.frames.length > 4 ? " many" : ""}` }, ...this.frames.map((frame) => frame.element)),
      make(
        "div",
        { class: "body" },
        this.title,
        this.settings,
        this.status,
        this.failures,
        this.revised,
        this.facts,
        make("div", { class: "actions" }, this.cut, this.reuse, this.remove),
        this.copies,
      ),
    );
  }

  get isMine() {
    return this.run.tab === TAB;
  }

  update(run, isNews) {
    const before = this.run;
    this.run = run;
    this.receivedAt = performance.now();
    this.element.dataset.status = run.status;
    const isRunning = run.status === "running";
    setText(this.settings, describeSettings(run));
    this.frames.forEach((frame, place) => frame.update(run.images[place]));
    this.fail(run.failures);
    setText(this.revised, run.revised_prompt ? `The server’s own prompt: ${run.revised_prompt}` : "");
    show(this.revised, Boolean(run.revised_prompt));
    const facts = isRunning ? [] : describeFacts(run);
    this.facts.replaceChildren(...facts.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))));
    show(this.facts, facts.length > 0);
    const hadFocus = !isRunning && this.cut === document.activeElement;
    show(this.cut, isRunning);
    show(this.remove, !isRunning);
    // The button that was pressed is gone: who came by keyboard stays at this card.
    if (hadFocus) this.title.focus();
    this.tick();
    if (isNews && this.isMine) this.tell(before, run);
  }

  tick() {
    const { run } = this;
    const elapsed = run.elapsed + (run.status === "running" ? (performance.now() - this.receivedAt) / 1000 : 0);
    const wait = this.cards.waits[run.id];
    const words = describeStatus(run, wait);
    setText(this.status, run.status === "running" ? `${words} · ${seconds(elapsed)}${wait ? " so far" : ""}` : words);
    for (const frame of this.frames) frame.wait(wait ? "Waiting" : run.is_answered ? "Being made" : "Asked for", run.status);
  }

  fail(failures) {
    if (this.failures.childElementCount === failures.length) return;
    this.failures.replaceChildren(
      ...failures.map((failure) =>
        make(
          "div",
          { class: failure.type === "Cut" ? "failure cut-off" : "failure" },
          failure.type === "Cut" ? null : make("strong", {}, failure.type),
          make("p", {}, failure.message),
          failure.link ? make("p", {}, ...toLink(failure.link)) : null,
        ),
      ),
    );
  }

  /** Say what happened to who doesn't see it. */
  tell(before, run) {
    const prompt = shorten(run.request.prompt, 60);
    const rounds = (each) => Math.max(...each.images.map((steps) => steps.length));
    if (run.status === "done" && before.status !== "done") {
      announce(`Finished after ${seconds(run.elapsed)}: ${prompt}`);
    } else if (run.status === "failed" && before.status !== "failed") {
      announce(`Failed: ${prompt}: ${run.failures.map((failure) => failure.message).join(" ")}`, { urgent: true });
    } else if (run.status === "cut" && before.status !== "cut") {
      announce(`Cut off: ${prompt}`);
    } else if (run.status === "running" && rounds(run) > rounds(before)) {
      announce(`Step ${rounds(run)}: ${prompt}`);
    }
  }

  async cutOff() {
    await this.ask("POST", `/api/runs/${this.run.id}/cut`);
  }

  async forget() {
    await this.ask("DELETE", `/api/runs/${this.run.id}`);
  }

  async ask(method, path) {
    try {
      return await send(method, path);
    } catch (error) {
      announce(error.message, { urgent: true });
      return null;
    }
  }

  async copy(kind, button) {
    const copies = await this.ask("GET", `/api/runs/${this.run.id}/copies`);
    if (!copies) return;
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(copies[kind]);
    } catch {
      // Not every browser lets a page write there: then the user does.
      offerText(words, copies[kind]);
      return;
    }
    announce(`Copied as ${words}`);
    if (button.dataset.words) return;
    button.dataset.words = words;
    setText(button, "Copied");
    setTimeout(() => {
      setText(button, words);
      delete button.dataset.words;
    }, SAID_FOR);
  }

  toItem(place) {
    const { run } = this;
    const { steps } = this.frames[place];
    const several = run.images.length > 1;
    return {
      key: `${run.id}/${place}`,
      title: shorten(run.request.prompt, 200),
      steps: steps.map((step, index) => ({
        src: `/images/${step.name}`,
        label: step.partial === null ? "final" : `partial ${index + 1}`,
        alt: describePicture(run, place, step),
        name: fileName(run.request.prompt, step.partial === null ? `${run.number}-${place + 1}` : `${run.number}-${place + 1}-partial-${index + 1}`, step.media_type),
      })),
      facts: [
        ...(several ? [["Picture", `${place + 1} of ${run.images.length}`]] : []),
        ["Settings", describeSettings(run)],
        ...describeFacts(run),
        ["Came after", steps.map((step) => seconds(step.elapsed)).join(", ")],
        ["File", `${(steps.at(-1).media_type ?? "unknown").replace("image/", "")}, ${size(steps.at(-1).size_bytes)}`],
      ],
    };
  }
}

/** The place of one picture: empty, then each step of it. */
class Frame {
  constructor(card, place) {
    this.card = card;
    this.place = place;
    this.steps = [];
    this.shown = null;
    // Ten times the same word is read once.
    this.waiting = make("p", { class: "waiting", "aria-hidden": place > 0 ? "true" : null });
    this.stage = make("button", { type: "button", class: "stage", ".hidden": true, onclick: () => this.enlarge() });
    this.marks = make("div", { class: "marks", "aria-hidden": "true" });
    this.download = make("a", { class: "download", "aria-describedby": card.titleId, ".hidden": true }, make("span", { "aria-hidden": "true" }, "↓"));
    this.element = make("div", { class: "frame" }, this.waiting, this.stage, this.marks, this.download);
    const sides = /^(\d+)x(\d+)$/.exec(card.run.request.size ?? "");
    if (sides) this.element.style.aspectRatio = `${sides[1]} / ${sides[2]}`;
  }

  update(steps) {
    const { run } = this.card;
    this.steps = steps.filter((step) => !step.is_dropped);
    const last = this.steps.at(-1);
    if (last && last.name !== this.shown) this.sharpen(last);
    if (!last && this.shown) {
      this.stage.replaceChildren();
      show(this.stage, false);
      this.shown = null;
    }
    const expected = run.streams ? (run.request.partial_images ?? 0) + 1 : 1;
    const final = steps.find((step) => step.partial === null);
    if (this.marks.childElementCount !== expected) this.marks.replaceChildren(...Array.from({ length: expected }, () => make("i")));
    [...this.marks.children].forEach((mark, index) => mark.classList.toggle("full", Boolean(final) || index < steps.length));
    show(this.marks, run.status === "running" && expected > 1);
    this.element.classList.toggle("partial", Boolean(last) && last.partial !== null && run.status !== "running");
    show(this.download, Boolean(last) && last.partial === null);
    if (last && last.partial === null) {
      this.download.href = `/images/${last.name}`;
      this.download.download = fileName(run.request.prompt, `${run.number}-${this.place + 1}`, last.media_type);
      const which = run.images.length > 1 ? ` ${this.place + 1} of ${run.images.length}` : "";
      this.download.setAttribute("aria-label", `Download picture${which}`);
      this.download.title = `Download picture${which}`;
    }
    this.isDropped = steps.some((step) => step.is_dropped);
  }

  wait(words, status) {
    const isEmpty = this.shown === null;
    this.element.classList.toggle("none", isEmpty);
    this.waiting.classList.toggle("still", status !== "running");
    show(this.waiting, isEmpty);
    if (isEmpty) setText(this.waiting, status === "running" ? words : this.isDropped ? "No longer kept: newer pictures needed the room" : "No picture");
  }

  /** Put the next picture over the one before it, once it is decoded. */
  async sharpen(step) {
    const isFirst = this.shown === null;
    this.shown = step.name;
    const { run } = this.card;
    const alt = describePicture(run, this.place, step);
    const image = make("img", { alt, decoding: "async" });
    if (isFirst && run.status !== "running") image.loading = "lazy";
    image.src = `/images/${step.name}`;
    if (!isFirst) {
      try {
        await image.decode();
      } catch {
        // It was dropped meanwhile, or is no image that the browser knows.
      }
      if (this.shown !== step.name) return;
    }
    image.addEventListener("load", () => {
      if (!/^\d+x\d+$/.test(run.request.size ?? "")) this.element.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    });
    if (image.complete && image.naturalWidth && !/^\d+x\d+$/.test(run.request.size ?? "")) {
      this.element.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    }
    const old = [...this.stage.children];
    // Who hears the page hears of one picture.
    for (const each of old) each.setAttribute("alt", "");
    this.stage.append(image);
    this.stage.setAttribute("aria-label", `Enlarge: ${alt}`);
    show(this.stage, true);
    const clear = () => {
      for (const each of old) each.remove();
    };
    if (prefersReducedMotion() || !old.length) clear();
    else image.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350, easing: "ease-out" }).finished.then(clear, clear);
  }

  enlarge() {
    const { all, places } = this.card.cards.items();
    view(all, places.get(this) ?? 0);
  }
}

function describePicture(run, place, step) {
  const which = run.images.length > 1 ? `${place + 1} of ${run.images.length} ` : "";
  const prompt = shorten(run.request.prompt, 120);
  return step.partial === null ? `Picture ${which}of “${prompt}”` : `Partial picture ${step.partial + 1} ${which}of “${prompt}”`;
}

function describeSettings(run) {
  const { request, settings } = run;
  const known = { ...request, ...settings };
  return [
    request.model ?? "the server’s model",
    known.size?.replace("x", "×"),
    known.quality,
    request.background,
    request.style,
    known.output_format,
    request.n > 1 ? count(request.n, "picture") : null,
  ]
    .filter((each) => each && each !== "auto")
    .join(" · ");
}

function describeStatus(run, wait) {
  if (run.status === "done") return `Finished in ${seconds(run.elapsed)}`;
  if (run.status === "failed") return `Failed after ${seconds(run.elapsed)}`;
  if (run.status === "cut") return `Cut off after ${seconds(run.elapsed)}`;
  if (wait) return wait.charAt(0).toUpperCase() + wait.slice(1);
  const came = run.images.reduce((sum, steps) => sum + steps.length, 0);
  const finals = run.images.filter((steps) => steps.some((step) => step.partial === null)).length;
  if (finals) return `${finals} of ${count(run.images.length, "picture")} finished`;
  if (came) {
    const each = Math.max(...run.images.map((steps) => steps.length));
    return `Partial picture ${each} of ${run.request.partial_images ?? each}`;
  }
  return run.is_answered ? "Being made" : "Asked for, no answer yet";
}

function describeFacts(run) {
  const facts = [];
  const tokens = run.usage?.total_tokens;
  if (run.status === "done") facts.push(["Tokens", tokens === null || tokens === undefined ? "not said" : number(tokens)]);
  if (run.cost) facts.push(["Cost", dollars(run.cost.usd)]);
  else if (run.status === "done") facts.push(["Cost", "not known"]);
  if (run.attempts > 1) facts.push(["Attempts", number(run.attempts)]);
  return facts;
}

/** A link to an image that couldn't be fetched; only what a browser opens harmlessly is one. */
function toLink(url) {
  const isWeb = /^https?:\/\//i.test(url);
  return isWeb ? ["Try it yourself: ", make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url)] : [url];
}

function offerText(words, text) {
  const area = make("textarea", { readonly: true, rows: "12", "aria-label": `As ${words}`, spellcheck: "false" });
  area.value = text;
  const dialog = make(
    "dialog",
    { class: "text", "aria-label": `Copy as ${words}`, onclose: () => dialog.remove() },
    make("p", {}, "The browser doesn’t let this page copy. Copy it from here:"),
    area,
    make("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Close"),
  );
  document.body.append(dialog);
  dialog.showModal();
  area.select();
}
