// Numbers and times in words.

const NUMBER = new Intl.NumberFormat("en-US");

export const number = (value) => NUMBER.format(value);

export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Seconds of a request. */
export const seconds = (value) => `${value.toFixed(1)} s`;

/** A length of time that may be hours. */
export function duration(value) {
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${number(Math.floor(minutes / 60))} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function size(bytes) {
  if (bytes < 1000) return count(bytes, "byte");
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** US dollars: an image may cost fractions of a cent, a job thousands. */
export function dollars(value) {
  const digits = value === 0 || value >= 1 ? 2 : value >= 0.01 ? 3 : 5;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits > 2 ? 2 : digits, maximumFractionDigits: digits })}`;
}

export function shorten(text, longest = 80) {
  const line = text.replace(/\s+/gu, " ").trim();
  const characters = [...line];
  return characters.length <= longest ? line : `${characters.slice(0, longest).join("").trimEnd()}…`;
}

/** A part of a file name of any text. */
export function slug(text) {
  const letters = text.slice(0, 500).normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const joined = letters.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return joined.slice(0, 60).replace(/-+$/, "") || "image";
}

const SUFFIXES = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif" };

export const fileName = (prompt, place, mediaType) => `${slug(prompt)}-${place}.${SUFFIXES[mediaType] ?? "bin"}`;
