// The server, as the views see it: queries with the token of this start, and the stream of events.

const TOKEN = "limpid-token";
const RETRY = 1000; // milliseconds until a lost stream is opened again

/** The token: from the address that the command printed, and stored for reloads and other tabs of this address. */
function findToken() {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (!given) return localStorage.getItem(TOKEN) ?? "";
  localStorage.setItem(TOKEN, given);
  address.searchParams.delete("token");
  history.replaceState(null, "", address); // so that a projected or copied address does not show it
  return given;
}

const token = findToken();

/** A response of the server. Throws an Error with the server's line if it refuses, or with one of its own if it is gone. */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { "x-limpid-token": token, ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("limpid lab does not answer: has it ended? Start it again with limpid lab");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ?? `${path}: ${response.status} ${response.statusText}`);
}

/** The JSON answer to a query. */
export async function ask(name, query = {}, signal = undefined) {
  const body = JSON.stringify(query);
  const headers = { "content-type": "application/json" };
  return (await request(`api/${name}`, { method: "POST", body, headers, signal })).json();
}

/** A file of the server as a Blob. */
export async function file(path) {
  return (await request(path)).blob();
}

const listeners = new Set();
const current = new Map(); // the last event of each key, for a view that opens later

/** Call `act` with every event, those first that say how things are now. Returns a function that ends it. */
export function listen(act) {
  listeners.add(act);
  for (const event of current.values()) act(event);
  return () => listeners.delete(act);
}

function take(event) {
  if (event.key) current.set(event.key, event);
  for (const act of listeners) act(event);
}

/** Read the stream of events for as long as the page is open; `onState` gets whether it is connected. */
export async function follow(onState) {
  for (;;) {
    try {
      const reader = (await request("api/events")).body.pipeThrough(new TextDecoderStream()).getReader();
      current.clear();
      onState(true);
      await readEvents(reader);
    } catch (error) {
      onState(false, error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

async function readEvents(reader) {
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("limpid lab has ended");
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) take(JSON.parse(part.slice(6)));
  }
}

/** The bytes of base64, as a typed array of `kind`. */
export function decode(base64, kind = Uint8Array) {
  return new kind(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer);
}

/** Bytes as base64. */
export function encode(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
