// The OpenID provider of the demo and of the tests: the certified oidc-provider, with handles for tests.
//
//   browser, filter ──► issuer port ── observe, delay, fail ──► oidc-provider
//   tests ───────────► control port (loopback): what was asked, and what is to go wrong
//
// Options come as JSON in the environment variable PROVIDER_OPTIONS, see DEFAULTS. When both ports are
// open, one line of JSON on stdout says {"issuer": …, "control": …}.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";

import { makeKeys, makeProvider, readBody } from "./openid.mjs";
import { Store } from "./store.mjs";

const DEFAULTS = {
  host: "127.0.0.1", // the name in the issuer; the provider listens on loopback whatever it says
  port: 0,
  control_port: 0,
  tls_cert: null, // paths of PEM files; with them the issuer is https
  tls_key: null,
  clients: [], // { client_id, client_secret, redirect_uris, post_logout_redirect_uris, method, alg, grant_types }
  client_auth_methods: ["client_secret_basic", "client_secret_post"],
  access_token_ttl: 3600, // seconds; the ID token lives as long
  claims_only_in_userinfo: false,
  pkce_required: true,
  access_token_claims: null, // with them, access tokens are JWTs with these claims besides, as Keycloak's are
};

const ENDPOINTS = {
  "/.well-known/openid-configuration": "discovery",
  "/jwks": "jwks",
  "/auth": "authorization",
  "/token": "token",
  "/me": "userinfo",
};

const options = { ...DEFAULTS, ...JSON.parse(process.env.PROVIDER_OPTIONS ?? "{}") };
const clients = options.clients.map(toMetadata);
const store = new Store(() => clients);

const secure = options.tls_cert !== null;
const server = secure
  ? https.createServer({ cert: readFileSync(options.tls_cert), key: readFileSync(options.tls_key) })
  : http.createServer();
const port = await listen(server, options.port);
const issuer = `${secure ? "https" : "http"}://${options.host}:${port}`;

let keys = makeKeys();
let answer = serveWith(keys);
let issued = []; // pairs of a name and a value: secrets that must not leak
let seen = []; // the requests to the endpoints, oldest first
let faults = {}; // endpoint, or "token:" and a grant type -> { status, delay, times }

/** The provider with these keys; its tokens are remembered. */
function serveWith(keys) {
  const provider = makeProvider(issuer, options, store, keys);
  provider.on("grant.success", (ctx) => {
    for (const name of ["access_token", "id_token", "refresh_token"]) issue(`a ${name}`, ctx.body?.[name]);
  });
  for (const result of ["success", "error"]) {
    provider.on(`backchannel.${result}`, () => seen.push({ endpoint: "backchannel_logout", result }));
  }
  return provider.callback();
}

server.on("request", (request, response) => {
  serve(request, response).catch((error) => {
    console.error(`provider: ${error.message}`);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});

function issue(what, value) {
  if (value) issued.push([what, value]);
}

async function serve(request, response) {
  const url = new URL(request.url, issuer);
  // The redirect with the code comes from the authorization endpoint, or from the target of the form.
  response.on("finish", () => {
    const location = response.getHeader("location");
    if (location) issue("a code", new URL(location, issuer).searchParams.get("code"));
  });
  const endpoint = ENDPOINTS[url.pathname];
  if (!endpoint) return answer(request, response);

  const entry = { endpoint, method: request.method, headers: request.headers, status: null };
  seen.push(entry);
  if (endpoint === "authorization") entry.params = Object.fromEntries(url.searchParams);
  if (endpoint === "token") {
    request.body = await readBody(request);
    // Only the names and what is no secret: tests look at the form of a grant.
    const form = new URLSearchParams(request.body);
    entry.grant_type = form.get("grant_type");
    entry.params = [...form.keys()];
    for (const name of ["code", "code_verifier", "refresh_token"]) issue(`a ${name}`, form.get(name));
  }
  response.on("finish", () => {
    entry.status = response.statusCode;
  });

  const place = `${endpoint}:${entry.grant_type}` in faults ? `${endpoint}:${entry.grant_type}` : endpoint;
  const fault = faults[place];
  if (fault) {
    if (fault.times !== undefined && --fault.times <= 0) delete faults[place];
    if (fault.delay) await new Promise((resolve) => setTimeout(resolve, fault.delay));
    if (fault.status) {
      response.writeHead(fault.status, { "content-type": "application/json" });
      return response.end(JSON.stringify(fault.body ?? { error: "server_error" }));
    }
  }
  return answer(request, response);
}

// ---- control ----

const commands = {
  /** What was asked since the last `forget`. */
  seen: () => seen,
  /** What was given out since this was asked last. */
  issued: () => issued.splice(0),
  forget: () => {
    seen = [];
    return {};
  },
  /** { endpoint: { status, body, delay (ms), times } }, also "token:refresh_token"; what is not named works again. */
  faults: (wanted) => {
    faults = structuredClone(wanted);
    return {};
  },
  /** Adds a redirect URI to every client: tests know their port late. */
  redirect_uri: ({ uri }) => {
    for (const client of clients) {
      if (!client.redirect_uris.includes(uri)) client.redirect_uris.push(uri);
    }
    return {};
  },
  /** Every client gets logout tokens at this address: for one session, or for all of a user. */
  backchannel_logout: ({ uri, session_required }) => {
    for (const client of clients) {
      client.backchannel_logout_uri = uri;
      client.backchannel_logout_session_required = session_required;
    }
    return {};
  },
  /** Every refresh token is refused from now on (invalid_grant). */
  revoke: () => {
    store.revokeAll();
    return {};
  },
  /** New keys under new ids; the old ones are gone at once. */
  rotate_keys: () => {
    keys = makeKeys();
    answer = serveWith(keys);
    return {};
  },
  /** The signature algorithm of the ID tokens: RS256, PS256, ES256, EdDSA. */
  sign_with: ({ alg }) => {
    for (const client of clients) client.id_token_signed_response_alg = alg;
    return {};
  },
  /** Sets options such as access_token_ttl and claims_only_in_userinfo. */
  options: (wanted) => {
    Object.assign(options, wanted);
    answer = serveWith(keys);
    return {};
  },
  /** Closes the port: connections are refused until `up`. */
  down: async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    return {};
  },
  up: async () => {
    await listen(server, port);
    return {};
  },
};

const control = http.createServer(async (request, response) => {
  try {
    const command = commands[request.url.slice(1)];
    if (!command) throw new Error(`no such command: ${request.url}`);
    const result = await command(JSON.parse((await readBody(request)) || "{}"));
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(result));
  } catch (error) {
    response.writeHead(400, { "content-type": "text/plain" });
    response.end(error.message);
  }
});
const controlPort = await listen(control, options.control_port);

console.log(JSON.stringify({ issuer, control: `http://127.0.0.1:${controlPort}` }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));

function toMetadata({ client_id, client_secret, redirect_uris, post_logout_redirect_uris, method, alg, grant_types }) {
  return {
    client_id,
    client_secret,
    redirect_uris: [...redirect_uris],
    post_logout_redirect_uris: post_logout_redirect_uris ?? [],
    grant_types: grant_types ?? ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: method ?? "client_secret_basic",
    id_token_signed_response_alg: alg ?? "RS256",
  };
}

/** Listens on loopback and says on which port. */
function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve(server.address().port);
    });
  });
}
