// The form of a new picture: it offers what the model takes, and nothing else.

import { byId, make, setText, show } from "./dom.js";
import { send } from "./connection.js";
import { dollars } from "./words.js";

const OTHER = "\u0000other";
const CUSTOM = "\u0000custom";
const CHOICES = ["quality", "background", "output_format", "style", "moderation"];
const SOURCES = { quality: "qualities", background: "backgrounds", output_format: "output_formats", style: "styles", moderation: "moderations" };
const FIELDS = ["prompt", "model", "other", "size", "free-size", "n", "partial_images", "output_compression", ...CHOICES];
const DEFAULT_PARTIAL_IMAGES = "3";
const MEMORY = "studio-form";
const PAUSE = 300;

export class Form {
  constructor(onStarted) {
    this.element = byId("composer");
    this.inputs = Object.fromEntries(FIELDS.map((name) => [name, byId(name)]));
    this.onStarted = onStarted;
    this.models = null;
    this.asked = 0;
  }

  async begin() {
    this.models = await send("GET", "/api/models");
    const { model } = this.inputs;
    model.replaceChildren(
      ...this.models.models.map((each) => make("option", { value: each.name }, each.name)),
      make("option", { value: OTHER }, "Another model…"),
    );
    model.value = this.models.default_model;
    this.offer();
    this.recall();
    this.estimate();
    model.addEventListener("change", () => this.offer());
    this.inputs.size.addEventListener("change", () => this.refresh());
    this.inputs.background.addEventListener("change", () => this.refresh());
    this.inputs.output_format.addEventListener("change", () => this.refresh());
    this.inputs.partial_images.addEventListener("change", () => this.refresh());
    this.element.addEventListener("input", (event) => {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.estimate(), PAUSE);
      this.complain(event.target.id, "");
      setText(byId("form-error"), "");
      this.remember();
    });
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.inputs.prompt.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.element.requestSubmit();
      }
    });
  }

  get rules() {
    const name = this.inputs.model.value;
    return this.models.models.find((each) => each.name === name) ?? this.models.other;
  }

  /** Offer what the chosen model takes; what it takes of what was chosen before stays. */
  offer() {
    const rules = this.rules;
    const { size, n, partial_images: partial } = this.inputs;
    fill(size, [...withDefault(rules.sizes), ...rules.suggested_sizes.map(same), ...(rules.any_size ? [[CUSTOM, "Other…"]] : [])]);
    for (const name of CHOICES) {
      const values = rules[SOURCES[name]];
      fill(this.inputs[name], withDefault(values));
      show(byId(`${name}-field`), values.length > 0);
    }
    fill(n, Array.from({ length: rules.max_images }, (_, index) => same(String(index + 1))));
    const steps = rules.partial_images.map((value) => [String(value), value === 0 ? "none" : String(value)]);
    fill(partial, rules.streams === null ? [["", "no stream"], ...steps] : steps, rules.streams ? DEFAULT_PARTIAL_IMAGES : "");
    show(byId("partial_images-field"), rules.partial_images.length > 0);
    show(byId("other-field"), rules === this.models.other);
    this.refresh();
  }

  /** Keep choices apart that don't go together. */
  refresh() {
    const { size, background, output_format: format, partial_images: partial } = this.inputs;
    show(byId("free-size-field"), size.value === CUSTOM);
    disable(format, "jpeg", background.value === "transparent");
    disable(background, "transparent", format.value === "jpeg");
    const isCompressed = format.value === "jpeg" || format.value === "webp";
    show(byId("output_compression-field"), isCompressed && !byId("output_format-field").hidden);
    // One of the two has a place of its own in either case.
    byId("moderation-field").classList.toggle("wide", byId("output_compression-field").hidden);
    const isPlain = this.rules.streams === false || (this.rules.streams === null && partial.value === "");
    show(byId("plain-hint"), isPlain);
  }

  /** Give the request's fields as they are sent. */
  read() {
    const value = (name) => (this.inputs[name].closest(".field").hidden ? "" : unlessAuto(this.inputs[name].value));
    const whole = (name) => (value(name) === "" ? null : Number(value(name)));
    const fields = { prompt: this.inputs.prompt.value };
    fields.model = value("model") === OTHER ? value("other").trim() : value("model");
    fields.size = value("size") === CUSTOM ? value("free-size").trim() : value("size");
    for (const name of CHOICES) fields[name] = value(name);
    fields.n = value("n") === "1" ? null : whole("n");
    fields.partial_images = whole("partial_images");
    fields.output_compression = whole("output_compression");
    return Object.fromEntries(Object.entries(fields).filter(([, each]) => each !== "" && each !== null));
  }

  /** Put a request's fields into the form. */
  fill(request) {
    const { model, other, size } = this.inputs;
    const isKnown = this.models.models.some((each) => each.name === request.model);
    model.value = isKnown ? request.model : OTHER;
    other.value = isKnown ? "" : (request.model ?? "");
    this.offer();
    this.inputs.prompt.value = request.prompt;
    const isOffered = [...size.options].some((option) => option.value === (request.size ?? ""));
    choose(size, request.size && !isOffered ? CUSTOM : request.size);
    this.inputs["free-size"].value = isOffered ? "" : (request.size ?? "");
    for (const name of CHOICES) choose(this.inputs[name], request[name]);
    choose(this.inputs.n, String(request.n ?? 1));
    choose(this.inputs.partial_images, request.partial_images === undefined ? (isKnown ? "0" : "") : String(request.partial_images));
    this.inputs.output_compression.value = request.output_compression ?? "";
    this.refresh();
    this.remember();
    this.inputs.prompt.focus();
    this.estimate();
  }

  async submit() {
    for (const name of FIELDS) this.complain(name, "");
    setText(byId("form-error"), "");
    const button = byId("generate");
    // Not `disabled`, which would take the focus away.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      this.onStarted(await send("POST", "/api/runs", this.read()));
    } catch (error) {
      this.refuse(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  /** Say what is wrong, at the field that it is about. */
  refuse(error) {
    const isFree = error.field === "size" && this.inputs.size.value === CUSTOM;
    const name = isFree ? "free-size" : error.field;
    const input = name ? this.inputs[name] : null;
    if (input && byId(`${name}-error`) && !input.closest(".field").hidden) {
      this.complain(name, error.message);
      input.focus();
    } else {
      setText(byId("form-error"), error.message);
    }
  }

  /** Say what the request may cost at most, where that is known. */
  async estimate() {
    const fields = this.read();
    // Before there is a prompt the settings can be compared.
    if (!fields.prompt?.trim()) fields.prompt = "…";
    const asked = (this.asked += 1);
    let cost = null;
    try {
      cost = await send("POST", "/api/estimate", fields);
    } catch {
      // The studio is gone, which is said elsewhere.
    }
    // Answers may come in another order than they were asked for in.
    if (asked !== this.asked) return;
    const date = cost?.priced_on ? `, by the prices of ${new Date(cost.priced_on).toLocaleDateString("en-GB", { dateStyle: "medium", timeZone: "UTC" })}` : "";
    setText(byId("estimate"), cost ? `At most ${dollars(cost.usd)}${date}` : "What it costs is not known");
    show(byId("estimate"), true);
  }

  complain(name, words) {
    const place = byId(`${name}-error`);
    if (!place) return;
    setText(place, words);
    if (words) this.inputs[name].setAttribute("aria-invalid", "true");
    else this.inputs[name].removeAttribute("aria-invalid");
  }

  /** Keep what is typed for a reload of this tab. */
  remember() {
    const values = Object.fromEntries(FIELDS.map((name) => [name, this.inputs[name].value]));
    try {
      sessionStorage.setItem(MEMORY, JSON.stringify(values));
    } catch {
      // Storage is turned off or full: then a reload begins anew.
    }
  }

  recall() {
    let values;
    try {
      values = JSON.parse(sessionStorage.getItem(MEMORY) ?? "null");
    } catch {
      return;
    }
    if (!values) return;
    choose(this.inputs.model, values.model);
    this.offer();
    for (const name of FIELDS) {
      const input = this.inputs[name];
      if (name === "model" || values[name] === undefined) continue;
      if (input instanceof HTMLSelectElement) choose(input, values[name]);
      else input.value = values[name];
    }
    this.refresh();
  }
}

const same = (value) => [value, value];

/** What is left to the server isn't sent. */
const unlessAuto = (value) => (value === "auto" ? "" : value);

/** What is left to the server comes first; where that has a name of its own, only by that. */
const withDefault = (values) => (values.includes("auto") ? ["auto", ...values.filter((each) => each !== "auto")] : [["", "default"], ...values])
  .map((each) => (Array.isArray(each) ? each : same(each)));

function fill(select, options, preferred = null) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
  const values = options.map(([value]) => value);
  if (before !== "" && values.includes(before)) select.value = before;
  else if (preferred !== null && values.includes(preferred)) select.value = preferred;
}

function choose(select, value) {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
  else if (select.options.length) select.selectedIndex = 0;
}

function disable(select, value, isDisabled) {
  for (const option of select.options) if (option.value === value) option.disabled = isDisabled;
}
