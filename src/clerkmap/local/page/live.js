// The page's connection to the local server: snapshots as server-sent events, and actions as requests.

/** Listen to the server. `heard` gets each snapshot, `connected` whether the connection is open. */
export function listen(heard, connected) {
  let source;
  let retry = 0;
  const open = () => {
    source = new EventSource("/live");
    source.addEventListener("state", (event) => {
      connected(true);
      heard(JSON.parse(event.data));
    });
    source.onerror = () => {
      connected(false);
      // A browser does not reconnect after an error response or if the server is gone.
      source.close();
      clearTimeout(retry);
      retry = setTimeout(open, 1000);
    };
  };
  open();
}

/** The server refused the request. The message is the server's. */
export class Refused extends Error {}

/** Send an action to the server. Return the response, or throw `Refused`. */
export async function ask(action, details = {}) {
  let answer;
  try {
    answer = await fetch("/do", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ action, ...details }),
    });
  } catch {
    throw new Refused("The server does not respond. Check that `clerkmap dev` is running.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.error?.message ?? `The server responded with ${answer.status}.`);
  return body;
}
