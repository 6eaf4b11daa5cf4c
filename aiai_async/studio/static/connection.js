// How the page talks to the studio: requests with the token, and a WebSocket that comes back when it was lost.

import { byId, setText, show } from "./dom.js";

const TOKEN = document.querySelector('meta[name="studio-token"]').content;
const FIRST_WAIT = 300;
const LONGEST_WAIT = 5000;

/** This tab's name: it survives a reload, so that what it began goes on. */
export const TAB = (() => {
  try {
    const known = sessionStorage.getItem("studio-tab");
    if (known) return known;
    const made = crypto.randomUUID();
    sessionStorage.setItem("studio-tab", made);
    return made;
  } catch {
    // Storage is turned off: then a reload cuts off what runs, like closing.
    return crypto.randomUUID();
  }
})();

export class Refused extends Error {
  constructor(message, { status, field }) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

/** Send a request and give its answer, or throw a `Refused` in the studio's words. */
export async function send(method, path, body) {
  const headers = { "X-Studio-Token": TOKEN, "X-Studio-Tab": TAB };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    throw new Refused("The studio doesn’t answer; is it still running?", { status: 0, field: null, cause: error });
  }
  if (response.status === 204) return null;
  const tree = await response.json();
  if (!response.ok) throw new Refused(tree.error.message, { status: response.status, field: tree.error.field });
  return tree;
}

/** Listen to what changes; `onMessage` gets each message. Says on the page when the studio is gone, and calls `onGone`. */
export function listen(path, onMessage, onGone = () => {}) {
  let wait = FIRST_WAIT;
  const banner = byId("banner");

  function open() {
    const url = new URL(path, location.href);
    url.protocol = "ws:";
    const socket = new WebSocket(url, ["aiai-studio", `token.${TOKEN}`]);
    socket.binaryType = "arraybuffer";
    const decoder = new TextDecoder();
    socket.addEventListener("open", () => {
      wait = FIRST_WAIT;
      show(banner, false);
    });
    socket.addEventListener("message", (event) => onMessage(JSON.parse(decoder.decode(event.data))));
    socket.addEventListener("close", async () => {
      onGone();
      if (await isStrange()) {
        say("The studio was started anew since this page was loaded.", true);
        return;
      }
      say("The studio has stopped or can’t be reached; the page comes back when it does.", false);
      setTimeout(open, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    });
  }

  /** Whether a studio is there that doesn't know this page's token. */
  async function isStrange() {
    try {
      await send("GET", "/api/models");
      return false;
    } catch (error) {
      return error.status === 403;
    }
  }

  function say(words, canReload) {
    setText(banner, words);
    if (canReload) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Reload the page";
      button.addEventListener("click", () => location.reload());
      banner.append(" ", button);
    }
    show(banner, true);
  }

  // A page that is left doesn't say that the studio is gone.
  addEventListener("pagehide", () => {
    banner.remove();
  });
  open();
}
