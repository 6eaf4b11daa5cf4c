// Small things about elements. Text only ever becomes text: nothing here, or in the other modules, parses markup.

/** Make an element: attributes, properties that begin with a dot, listeners that begin with "on", then children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith(".")) element[key.slice(1)] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Set a text only where it differs, so that nothing is selected anew or read out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Say something to who listens to the page; urgent things interrupt. */
export function announce(words, { urgent = false } = {}) {
  const region = byId(urgent ? "assertive" : "polite");
  // The same words twice are two messages: a region that doesn't change says nothing.
  region.textContent = region.textContent === words ? `${words}\u00a0` : words;
}

export const prefersReducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
