// Talks to the broker's HTTP API. The pages lie beside `api/`, whatever prefix a proxy put before both.

const BASE = new URL("api/", document.baseURI);
const KEY = "warren-login";

/** A refusal by the broker: its reason, for people. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

let login = sessionStorage.getItem(KEY);

export const isLoggedIn = () => login !== null;

export function logIn(user, password) {
  const octets = new TextEncoder().encode(`${user}:${password}`);
  login = btoa(String.fromCharCode(...octets));
  sessionStorage.setItem(KEY, login);
}

export function logOut() {
  login = null;
  sessionStorage.removeItem(KEY);
}

/** One part of a path: names may hold slashes. */
export const part = encodeURIComponent;

async function call(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (login !== null) headers.Authorization = `Basic ${login}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, BASE), {
      method, headers, signal, cache: "no-store", credentials: "omit",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused(0, "The broker does not answer.");
  }
  const text = await response.text();
  let value;
  try { value = text === "" ? undefined : JSON.parse(text); } catch { value = text; }
  if (!response.ok) {
    const reason = value && (value.reason ?? value.error);
    throw new Refused(response.status, typeof reason === "string" ? reason : `${response.status} ${response.statusText}`);
  }
  return value;
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const put = (path, body = {}) => call("PUT", path, body);
export const post = (path, body = {}) => call("POST", path, body);
export const remove = (path, body) => call("DELETE", path, body);

/** What a list is asked for: one page, sorted and filtered by the broker. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return text && `?${text}`;
}
