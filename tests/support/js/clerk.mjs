// Clerk's official client for JavaScript, asked from Python: one question in JSON on each line, one answer on each line.
//
// Nothing of the client is replaced: a question is a call of one of its public functions, and the answer is what it
// returned, or the error that it raised.

import { createInterface } from "node:readline";
import { createClerkClient, verifyToken } from "@clerk/backend";
import { verifyWebhook } from "@clerk/backend/webhooks";

// One client for each set of options, as an application has one: it remembers the keys it has fetched.
const clients = new Map();

function clientOf(options) {
  const name = JSON.stringify(options);
  if (!clients.has(name)) clients.set(name, createClerkClient(options));
  return clients.get(name);
}

const requestOf = ({ url = "https://app.example.com/", method = "GET", headers = {}, body }) =>
  new Request(url, { method, headers, body });

// What an application reads of a request, `toAuth()` included: it is what treats a pending session as signed out.
async function authenticate({ client, options, request }) {
  const state = await clientOf(client).authenticateRequest(requestOf(request), options);
  const said = { status: state.status, reason: state.reason };
  if (state.status !== "signed-in") return said;
  try {
    const { isAuthenticated, userId, sessionId, orgId, orgRole, orgSlug, orgPermissions, ...rest } = state.toAuth();
    const machine = { tokenType: rest.tokenType, subject: rest.subject, scopes: rest.scopes };
    const { actor } = rest;
    return { ...said, isAuthenticated, userId, sessionId, orgId, orgRole, orgSlug, orgPermissions, actor, ...machine };
  } catch (error) {
    return { ...said, unreadable: String(error) };
  }
}

const calls = {
  verifyToken: ({ token, options }) => verifyToken(token, options),
  authenticate,
  verifyWebhook: ({ request, options }) => verifyWebhook(requestOf(request), options),

  // Any function of the API client: `users.getUserList` with its arguments.
  api: async ({ client, path, args }) => {
    const [group, name] = path.split(".");
    return await clientOf(client)[group][name](...args);
  },

  // Many tokens in one question: what each is to `verifyToken`, and in the header of a request.
  tokens: ({ tokens, client, options }) =>
    Promise.all(
      tokens.map(async (token) => ({
        token: await answerTo(() => verifyToken(token, { ...options, jwtKey: client.jwtKey })),
        request: await answerTo(() =>
          authenticate({ client, options, request: { headers: { authorization: `Bearer ${token}` } } }),
        ),
      })),
    ),
};

async function answerTo(call) {
  try {
    return { value: (await call()) ?? null };
  } catch (error) {
    const { name, message, reason, status, errors } = error;
    return { error: { name, message, reason, status, errors } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, said } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await answerTo(() => calls[call](said)))}\n`);
}
