// The page's two wires to the local server: what it says of itself, and what it is asked to do.

/** Listen to the server. `heard` gets each snapshot, `connected` whether there is anybody to listen to. */
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
      // A browser gives up where the server is gone or answers with an error: then we ask again ourselves.
      source.close();
      clearTimeout(retry);
      retry = setTimeout(open, 1000);
    };
  };
  open();
}

/** Said no to: the server's own words. */
export class Refused extends Error {}

/** Ask the server to do something; its answer, or `Refused`. */
export async function ask(action, details = {}) {
  let answer;
  try {
    answer = await fetch("/do", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ action, ...details }),
    });
  } catch {
    throw new Refused("The server does not answer. Is it still running?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.error?.message ?? `The server answered ${answer.status}.`);
  return body;
}
