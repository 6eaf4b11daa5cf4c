// The sheet, its filter and the viewer. Everything of the job comes into the page as text: no markup is made of strings.
(() => {
  "use strict";
  const NONCE = document.currentScript.nonce;
  const THUMB = 0;
  const GONE = 2;
  // Rows around the window are there, others only have their room; a browser would be slow with a hundred thousand.
  const CARDS_IN_BLOCK = 96;
  const AHEAD = "1200px 0px";
  // Some browsers have no place below 17.9 million pixels.
  const MOST_PIXELS = 15e6;
  const MOST_PRINTED = 600;
  const LONGEST_CAPTION = 200;

  const find = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(find(id).textContent);
  const number = (value) => value.toLocaleString("en");
  const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  function formatTime(seconds) {
    const date = new Date(seconds * 1000);
    if (Number.isNaN(date.getTime())) return String(seconds);
    return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }

  function formatSeconds(value) {
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    if (value < 60) return `${value.toFixed(1)} s`;
    return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  }

  function formatBytes(value) {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1000;
      unit += 1;
    }
    return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
  }

  function formatCost(value) {
    return `$${value >= 0.1 || value <= 0 ? value.toFixed(2) : value.toPrecision(2)}`;
  }

  const job = read("job");
  const [DONE] = [job.states.findIndex(([name]) => name === "done")];

  // -- the items: [index, state, kind, model, prompt, id, request id, [name, look, name, look, ...]]

  const items = [];
  const texts = []; // what an item is found by
  const cardItems = []; // a card is an image, or an item without any: its item's place,
  const cardImages = []; // and its image's, or -1
  const pieceStarts = [0];
  let isLoaded = job.pieces.length === 0;

  function simplify(text) {
    return text.normalize("NFKC").toLowerCase();
  }

  function addItems(found) {
    for (const item of found) {
      const place = items.push(item) - 1;
      texts.push(simplify(`${item[4]}\n${item[5] || ""}\n${item[6] || ""}\n#${item[0]}`));
      const images = item[7].length / 2;
      for (let image = images ? 0 : -1; image < images; image += 1) {
        cardItems.push(place);
        cardImages.push(image);
      }
    }
    pieceStarts.push(items.length);
  }

  const received = new Map();
  window.aiaiReport = (kind, piece, text) => received.set(`${kind} ${piece}`, text);

  function load(kind, piece) {
    const key = `${kind} ${piece}`;
    return new Promise((resolve, reject) => {
      const script = make("script");
      script.nonce = NONCE;
      script.src = job.pieces[piece - 1][kind === "index" ? 1 : 2];
      script.onload = () => {
        script.remove();
        const text = received.get(key);
        received.delete(key);
        if (text === undefined) reject(new Error(key));
        else resolve(JSON.parse(text));
      };
      script.onerror = () => reject(new Error(key));
      document.head.append(script);
    });
  }

  // -- the filter

  const form = find("filter");
  const chosen = { text: find("text"), status: find("status"), model: find("model"), kind: find("kind") };
  let visible = []; // the cards that match, in order
  let visibleItems = 0;
  let filtered = 0; // cards that were looked at

  function addOptions(select, all, options) {
    select.append(new Option(all, ""));
    for (const [value, words] of options) select.append(new Option(words, value));
  }

  function prepareFilter() {
    const states = job.order.map((place) => [place, ...job.states[place]]).filter((state) => state[3]);
    addOptions(chosen.status, "All", states.map(([place, , words, many]) => [place, `${words} (${number(many)})`]));
    addOptions(chosen.model, "All", job.models.map((name, place) => [place, name]));
    addOptions(chosen.kind, "All", job.kinds.map(([place, title, many]) => [place, `${title} (${number(many)})`]));
  }

  function makeMatcher() {
    const words = simplify(chosen.text.value).split(/\s+/u).filter(Boolean);
    const [status, model, kind] = [chosen.status, chosen.model, chosen.kind].map((select) => select.value);
    return (place) => {
      const item = items[place];
      return (
        (status === "" || item[1] === Number(status)) &&
        (model === "" || item[3] === Number(model)) &&
        (kind === "" || item[2] === Number(kind)) &&
        words.every((word) => texts[place].includes(word))
      );
    };
  }

  function extendVisible() {
    const matches = makeMatcher();
    let before = filtered ? cardItems[filtered - 1] : -1;
    let matched = false;
    for (; filtered < cardItems.length; filtered += 1) {
      const place = cardItems[filtered];
      if (place !== before) {
        before = place;
        matched = matches(place);
        if (matched) visibleItems += 1;
      }
      if (matched) visible.push(filtered);
    }
  }

  function filter() {
    visible = [];
    visibleItems = 0;
    filtered = 0;
    extendVisible();
    current = 0;
    layOut();
    tell();
  }

  function isFiltering() {
    return Object.values(chosen).some((control) => control.value !== "");
  }

  function tell() {
    const images = visible.reduce((sum, card) => sum + (cardImages[card] >= 0 ? 1 : 0), 0);
    const which = isFiltering() ? `${number(visibleItems)} of ${count(job.total, "item")}` : count(visibleItems, "item");
    find("count").textContent = `Showing ${which}, ${count(images, "image")}.`;
    const cut = find("cut");
    const parts = [];
    if (!isLoaded) parts.push(`Loading: ${number(items.length)} of ${count(job.total, "item")} so far.`);
    if (visible.length > shownCards()) {
      parts.push(`The first ${number(shownCards())} of ${number(visible.length)} are shown; filter to see the others.`);
    }
    cut.textContent = parts.join(" ");
    cut.hidden = parts.length === 0;
  }

  // -- the sheet

  const sheet = find("sheet");
  let width = 0; // of the sheet, when it was laid out
  let columns = 0;
  let rowHeight = 0;
  let blocks = [];
  let current = 0; // the card that Tab comes to, by its place among the visible ones
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const block = blocks[Number(entry.target.dataset.block)];
        // One that was laid out anew meanwhile is no longer asked about.
        if (block === undefined || block.element !== entry.target) continue;
        if (entry.isIntersecting) fill(block);
        else empty(block);
      }
    },
    { rootMargin: AHEAD },
  );

  const mostCards = () => (rowHeight ? Math.floor(MOST_PIXELS / rowHeight) * columns : Infinity);
  const shownCards = () => Math.min(visible.length, mostCards());
  const gap = () => parseFloat(getComputedStyle(sheet).getPropertyValue("--gap")) || 12;

  function countColumns() {
    const least = width < 520 ? 140 : 170;
    return Math.max(2, Math.floor((width + gap()) / (least + gap())));
  }

  function blockSize() {
    return Math.ceil(CARDS_IN_BLOCK / columns) * columns;
  }

  function layOut() {
    watcher.disconnect();
    sheet.hidden = visible.length === 0;
    sheet.replaceChildren();
    blocks = [];
    if (sheet.hidden) return;
    width = sheet.clientWidth;
    columns = countColumns();
    sheet.style.setProperty("--columns", columns);
    rowHeight = (width - gap() * (columns - 1)) / columns + 72 + gap();
    addBlocks();
  }

  function addBlocks() {
    const size = blockSize();
    const last = blocks[blocks.length - 1];
    if (last !== undefined && last.to < Math.min(last.from + size, shownCards())) {
      last.to = Math.min(last.from + size, shownCards());
      if (last.isFilled) refill(last);
      else setRoom(last);
    }
    const added = document.createDocumentFragment();
    for (let from = blocks.length * size; from < shownCards(); from += size) {
      const block = { element: make("div", "block"), from, to: Math.min(from + size, shownCards()), isFilled: false };
      block.element.dataset.block = blocks.length;
      block.element.setAttribute("role", "presentation");
      blocks.push(block);
      added.append(block.element);
    }
    const isFirst = sheet.childElementCount === 0;
    const from = sheet.childElementCount;
    sheet.append(added);
    if (isFirst && blocks.length) {
      fill(blocks[0]);
      const cell = blocks[0].element.firstElementChild;
      if (cell.offsetHeight) rowHeight = cell.getBoundingClientRect().height + gap();
    }
    for (const block of blocks.slice(from)) {
      if (!block.isFilled) setRoom(block);
      watcher.observe(block.element);
    }
  }

  function setRoom(block) {
    block.element.style.height = `${Math.ceil((block.to - block.from) / columns) * rowHeight - gap()}px`;
  }

  function fill(block) {
    if (block.isFilled) return;
    block.isFilled = true;
    const cells = document.createDocumentFragment();
    for (let place = block.from; place < block.to; place += 1) cells.append(makeCell(place));
    block.element.append(cells);
    block.element.style.height = "";
  }

  function refill(block) {
    const hadFocus = block.element.contains(document.activeElement);
    block.isFilled = false;
    block.element.replaceChildren();
    fill(block);
    if (hadFocus) focusCard(current);
  }

  function empty(block) {
    // What has the focus stays, and so does the card that Tab comes to.
    if (!block.isFilled || block.element.contains(document.activeElement)) return;
    if (current >= block.from && current < block.to) return;
    block.isFilled = false;
    setRoom(block);
    block.element.replaceChildren();
  }

  const addressOf = (folder, name, suffix = "") => `${folder}/${encodeURIComponent(name)}${suffix}`;

  function makeCell(place) {
    const card = visible[place];
    const item = items[cardItems[card]];
    const image = cardImages[card];
    const [, words] = job.states[item[1]];
    const picture = make("span", "picture");
    if (image < 0) {
      picture.append(make("span", "none", item[1] === DONE ? "No image" : words));
    } else if (item[7][image * 2 + 1] === GONE) {
      picture.append(make("span", "none", "The file is not there"));
    } else {
      const name = item[7][image * 2];
      const picked = make("img");
      picked.loading = "lazy";
      picked.decoding = "async";
      picked.alt = "";
      if (item[7][image * 2 + 1] === THUMB) {
        picked.dataset.whole = addressOf("images", name);
        picked.src = addressOf("thumbs", name, ".webp");
      } else {
        picked.src = addressOf("images", name);
      }
      picture.append(picked);
    }
    const prompt = make("span", "words", item[4].slice(0, LONGEST_CAPTION));
    prompt.dir = "auto";
    const images = item[7].length / 2;
    const meta = make("span", "meta", make("span", "", `#${item[0]}${images > 1 ? ` ${image + 1}/${images}` : ""}`));
    if (item[1] !== DONE) meta.append(make("b", `s-${job.states[item[1]][0]}`, words));
    const button = make("button", "card", picture, make("span", "caption", prompt, meta));
    button.type = "button";
    button.tabIndex = place === current ? 0 : -1;
    button.dataset.place = place;
    const cell = make("div", "cell", button);
    cell.setAttribute("role", "listitem");
    cell.setAttribute("aria-setsize", shownCards());
    cell.setAttribute("aria-posinset", place + 1);
    return cell;
  }

  function replaceBroken(event) {
    const image = event.target;
    if (!(image instanceof HTMLImageElement)) return;
    if (image.dataset.whole) {
      image.src = image.dataset.whole;
      delete image.dataset.whole;
    } else {
      image.replaceWith(make("span", "none", "The file can't be shown as an image"));
    }
  }

  function buttonOf(place) {
    const block = blocks[Math.floor(place / blockSize())];
    fill(block);
    return block.element.children[place - block.from].firstElementChild;
  }

  function makeCurrent(place) {
    const before = sheet.querySelector('.card[tabindex="0"]');
    if (before) before.tabIndex = -1;
    current = place;
    const button = buttonOf(place);
    button.tabIndex = 0;
    return button;
  }

  function focusCard(place) {
    if (!visible.length) return;
    const button = makeCurrent(Math.max(0, Math.min(place, shownCards() - 1)));
    button.focus({ preventScroll: true });
    button.scrollIntoView({ block: "nearest" });
  }

  function moveInSheet(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = Math.max(1, Math.floor(window.innerHeight / rowHeight));
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
      PageUp: -columns * rows,
      PageDown: columns * rows,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (step === undefined || !event.target.closest(".card")) return;
    event.preventDefault();
    focusCard(Math.max(0, Math.min(shownCards() - 1, current + step)));
  }

  // -- the viewer

  const viewer = find("viewer");
  let shown = 0; // by its place among the visible ones
  const details = new Map();

  function pieceOf(item) {
    let piece = 0;
    while (pieceStarts[piece + 1] <= item) piece += 1;
    return piece;
  }

  async function readDetails(item) {
    const piece = pieceOf(item);
    if (!details.has(piece)) details.set(piece, piece ? load("items", piece) : Promise.resolve(read("details")));
    return (await details.get(piece))[item - pieceStarts[piece]];
  }

  function open(place) {
    shown = place;
    if (!viewer.open) viewer.showModal();
    show();
    find("viewer-title").focus();
  }

  function step(by) {
    const place = shown + by;
    if (place < 0 || place >= shownCards()) return;
    shown = place;
    show();
  }

  function show() {
    const card = visible[shown];
    const place = cardItems[card];
    const item = items[place];
    const [state, words] = job.states[item[1]];
    const images = item[7].length / 2;
    const badge = make("span", `badge s-${state}`, words);
    const which = images > 1 ? `, image ${cardImages[card] + 1} of ${images}` : "";
    find("viewer-title").replaceChildren(`Item ${item[0]}${which} `, badge);
    find("viewer-place").textContent = `${number(shown + 1)} of ${number(shownCards())}`;
    for (const [id, isAtEnd] of [["previous", shown === 0], ["next", shown === shownCards() - 1]]) {
      if (isAtEnd && document.activeElement === find(id)) find("viewer-title").focus();
      find(id).disabled = isAtEnd;
    }
    const frame = find("viewer-image");
    const name = cardImages[card] < 0 ? null : item[7][cardImages[card] * 2];
    const isGone = name !== null && item[7][cardImages[card] * 2 + 1] === GONE;
    if (name === null || isGone) {
      frame.replaceChildren(make("span", "none", isGone ? "The file is not there" : "There is no image"));
    } else {
      const image = make("img");
      image.alt = `Image of item ${item[0]}: ${item[4].slice(0, LONGEST_CAPTION)}`;
      image.src = addressOf("images", name);
      frame.replaceChildren(image);
    }
    const facts = find("viewer-facts");
    facts.scrollTop = 0;
    viewer.scrollTop = 0;
    facts.replaceChildren(...makeHead(item));
    const asked = shown;
    readDetails(place).then(
      (found) => {
        if (asked === shown && visible[shown] === card) facts.append(...makeFacts(item, cardImages[card], found));
      },
      () => facts.append(make("p", "note", WRITTEN_ANEW)),
    );
  }

  const WRITTEN_ANEW =
    "A part of this page can't be loaded: the report was written anew meanwhile, or its folder report was not copied along. Load the page again.";

  function makeText(title, text) {
    const body = make("p", "prompt", text);
    body.dir = "auto";
    return [make("h3", "", title), body];
  }

  function makeHead(item) {
    return makeText("Prompt", item[4]);
  }

  function makeFacts(item, image, found) {
    const parts = [];
    for (const text of new Set(found.revised || [])) parts.push(...makeText("Prompt as the service revised it", text));
    if (found.error) {
      const error = new Map(found.error);
      parts.push(...makeText("What went wrong", error.get("message") || error.get("type") || "It isn't known."));
      error.delete("message");
      parts.push(makeList([...error].map(([name, value]) => [name.replaceAll("_", " "), value])));
    }
    const rows = [["Model", job.models[item[3]]], ...(found.settings || []).map(([name, value]) => [name, value])];
    parts.push(make("h3", "", "Settings"), makeList(rows));
    const [hash, size, type] = (image >= 0 && (found.images || [])[image]) || [];
    const name = image >= 0 ? item[7][image * 2] : null;
    if (name !== null) {
      const link = make("a", "", name);
      link.href = addressOf("images", name);
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      const file = [["File", link]];
      if (type) file.push(["Type", `${type}${size >= 0 ? `, ${formatBytes(size)}` : ""}`]);
      if (hash) file.push(["SHA-256", make("span", "mono", hash)]);
      parts.push(make("h3", "", "Image"), makeList(file));
    }
    parts.push(make("h3", "", "Request"), makeList(makeRequest(item, found)));
    if (found.usage && found.usage.length) {
      const usage = found.usage.map(([key, value]) => [key.replaceAll("_", " ").replaceAll(".", ": "), value]);
      parts.push(make("h3", "", "Usage"), makeList(usage));
    }
    if (found.links) parts.push(make("h3", "", "Not downloaded"), makeList(found.links.map((url) => ["Link", makeLink(url)])));
    return parts;
  }

  function makeRequest(item, found) {
    const sources = { server: "the service says so", prices: "by the table of prices", estimate: "estimated" };
    const rows = [];
    const source = found.cost_source ? ` (${sources[found.cost_source] || found.cost_source})` : "";
    rows.push(["Cost", found.cost === undefined ? "not known" : `${formatCost(found.cost)}${source}`]);
    if (found.spent_cost) rows.push(["Spent before", `up to ${formatCost(found.spent_cost)}, for earlier requests of it`]);
    if (found.spent_images) rows.push(["Asked before", `for ${count(found.spent_images, "image")} that may have been billed`]);
    if (item[6]) rows.push(["Request id", make("span", "mono", item[6])]);
    if (found.attempts) rows.push(["Attempts", number(found.attempts)]);
    if (found.sent_at !== undefined) rows.push(["Sent", formatTime(found.sent_at)]);
    if (found.at !== undefined) rows.push(["Ended", formatTime(found.at)]);
    if (found.elapsed !== undefined) rows.push(["Took", formatSeconds(found.elapsed)]);
    rows.push([item[5] ? "custom_id" : "Id", make("span", "mono", item[5] || found.id || "")]);
    rows.push(["Row", `line ${number(found.line)} of the input`]);
    return rows;
  }

  function makeList(rows) {
    const list = make("dl", "facts");
    for (const [name, value] of rows) list.append(make("dt", "", name), make("dd", "", value));
    return list;
  }

  function makeLink(url) {
    // Whatever else it says, such as javascript:, is only text.
    if (!/^https?:\/\//iu.test(url)) return url;
    const link = make("a", "", url);
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  }

  function openItem() {
    const wanted = /^#item-(\d+)$/u.exec(window.location.hash);
    if (!wanted) return false;
    const item = items.findIndex((one) => one[0] === Number(wanted[1]));
    if (item < 0) return false;
    // So that the same link works again.
    window.history.replaceState(null, "", " ");
    let place = visible.findIndex((card) => cardItems[card] === item);
    if (place < 0) {
      form.reset();
      filter();
      place = visible.findIndex((card) => cardItems[card] === item);
    }
    if (place < 0 || place >= shownCards()) return false;
    open(place);
    return true;
  }

  // -- putting it to work

  function listen() {
    let timer = 0;
    const filterSoon = () => {
      clearTimeout(timer);
      timer = setTimeout(filter, items.length > 20000 ? 150 : 40);
    };
    form.addEventListener("input", (event) => (event.target === chosen.text ? filterSoon() : filter()));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
    for (const button of document.querySelectorAll("button.show")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        form.reset();
        chosen.kind.value = button.dataset.kind;
        filter();
        find("images").scrollIntoView();
        chosen.kind.focus({ preventScroll: true });
      });
    }
    sheet.addEventListener("click", (event) => {
      const card = event.target.closest(".card");
      if (card) open(Number(card.dataset.place));
    });
    sheet.addEventListener("focusin", (event) => {
      const card = event.target.closest(".card");
      if (card && Number(card.dataset.place) !== current) makeCurrent(Number(card.dataset.place));
    });
    sheet.addEventListener("keydown", moveInSheet);
    // An image's error doesn't rise, but it can be caught on its way down.
    sheet.addEventListener("error", replaceBroken, true);
    viewer.addEventListener("error", replaceBroken, true);
    find("previous").addEventListener("click", () => step(-1));
    find("next").addEventListener("click", () => step(1));
    find("close").addEventListener("click", () => viewer.close());
    viewer.addEventListener("click", (event) => {
      if (event.target === find("viewer-image")) viewer.close();
    });
    viewer.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    viewer.addEventListener("close", () => {
      find("viewer-image").replaceChildren();
      focusCard(shown);
    });
    window.addEventListener("hashchange", openItem);
    new ResizeObserver(adapt).observe(sheet);
    window.addEventListener("scroll", noteTop, { passive: true });
    find("print").addEventListener("click", print);
    window.addEventListener("beforeprint", preparePrint);
    window.addEventListener("afterprint", endPrint);
  }

  let topCard = -1; // the card at the window's top, by its place; -1 where the sheet begins below that

  function noteTop() {
    // Between a change of the window and the layout for it, places say nothing.
    if (sheet.hidden || isPrinting || sheet.clientWidth !== width) return;
    const above = -sheet.getBoundingClientRect().top;
    topCard = above > 0 ? Math.floor(above / rowHeight) * columns : -1;
  }

  function adapt() {
    if (sheet.hidden || isPrinting || sheet.clientWidth === width) return;
    const isFocused = sheet.contains(document.activeElement);
    layOut();
    if (isFocused) focusCard(current);
    else if (topCard >= 0 && topCard < shownCards()) buttonOf(topCard).scrollIntoView();
  }

  let isPrinting = false;

  async function print() {
    // A browser prints what is there by then: pictures that begin to load when it asks come too late.
    preparePrint();
    const images = [...sheet.querySelectorAll("img")];
    await Promise.all(images.map((image) => image.decode().catch(() => {})));
    // Some browsers go on meanwhile: what the event says is the end.
    window.print();
  }

  function preparePrint() {
    if (isPrinting) return;
    isPrinting = true;
    watcher.disconnect();
    let printed = 0;
    for (const block of blocks) {
      if (printed >= MOST_PRINTED) {
        block.element.replaceChildren();
        block.element.hidden = true;
        block.isFilled = false;
        continue;
      }
      fill(block);
      printed = block.to;
    }
    for (const image of sheet.querySelectorAll("img")) {
      image.loading = "eager";
      image.decoding = "sync";
    }
    if (printed < visible.length) {
      find("cut").textContent = `The first ${number(printed)} of ${number(visible.length)} are printed; filter to choose others.`;
      find("cut").hidden = false;
    }
  }

  function endPrint() {
    if (!isPrinting) return;
    isPrinting = false;
    layOut();
    tell();
  }

  async function loadRest() {
    try {
      for (let piece = 1; piece <= job.pieces.length; piece += 1) {
        addItems(await load("index", piece));
        isLoaded = piece === job.pieces.length;
        extendVisible();
        if (!isPrinting) {
          if (sheet.hidden) layOut();
          else addBlocks();
        }
        tell();
        openItem();
      }
      for (const cell of sheet.querySelectorAll(".cell")) cell.setAttribute("aria-setsize", shownCards());
    } catch {
      find("cut").textContent = WRITTEN_ANEW;
      find("cut").hidden = false;
    }
  }

  for (const time of document.querySelectorAll("time")) {
    time.title = time.textContent;
    time.textContent = formatTime(Date.parse(time.dateTime) / 1000);
  }
  sheet.setAttribute("role", "list");
  sheet.setAttribute("aria-label", "Images: arrow keys move between them, Enter enlarges");
  find("viewer-facts").tabIndex = 0;
  find("viewer-facts").setAttribute("role", "region");
  find("viewer-facts").setAttribute("aria-label", "What is known of it");
  for (const id of ["filter", "count"]) find(id).hidden = false;
  addItems(read("index"));
  prepareFilter();
  listen();
  filter();
  openItem();
  loadRest();
})();
