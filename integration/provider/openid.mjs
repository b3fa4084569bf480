// oidc-provider, configured: one certified implementation that asks for a user name and nothing else.

import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { Provider } from "oidc-provider";

import { CLAIMS, findAccount } from "./accounts.mjs";
import { errorPage, loginPage, logoutPage, signedOutPage } from "./pages.mjs";

/** A new signing key for each algorithm; RS256 and PS256 share the RSA key. */
export function makeKeys() {
  const jwk = (type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
    kid: randomUUID(),
    use: "sig",
  });
  return [
    jwk("rsa", { modulusLength: 2048 }),
    jwk("ec", { namedCurve: "P-256" }),
    jwk("ed25519"),
  ];
}

const cookieKeys = [randomBytes(32).toString("base64url")];

/** The form of an access token is its resource's choice; here all are for one. */
const RESOURCE = "urn:example:api";
const JWT_ACCESS_TOKENS = {
  enabled: true,
  defaultResource: () => RESOURCE,
  useGrantedResource: () => true,
  getResourceServerInfo: () => ({ scope: "openid", audience: RESOURCE, accessTokenFormat: "jwt" }),
};

/** A Provider over `store`, signing with `keys`. */
export function makeProvider(issuer, options, store, keys) {
  const provider = new Provider(issuer, {
    adapter: store.adapter,
    jwks: { keys },
    claims: CLAIMS,
    clientAuthMethods: options.client_auth_methods,
    findAccount,
    cookies: { keys: cookieKeys },
    // Without this the ID token has all claims; with it, as the standard says, userinfo has them.
    conformIdTokenClaims: options.claims_only_in_userinfo,
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA"] },
    features: {
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = logoutPage(form);
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.type = "html";
          ctx.body = signedOutPage();
        },
      },
      ...(options.access_token_claims && { resourceIndicators: JWT_ACCESS_TOKENS }),
    },
    // By default it calls no server on loopback, where the tests' Envoys are.
    fetch: (url, { dispatcher: _, ...request }) => fetch(url, request),
    extraTokenClaims: () => options.access_token_claims ?? undefined,
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    loadExistingGrant,
    pkce: { required: () => options.pkce_required },
    renderError: (ctx, out) => {
      ctx.type = "html";
      ctx.body = errorPage(out.error, out.error_description);
    },
    ttl: {
      AccessToken: options.access_token_ttl,
      IdToken: options.access_token_ttl,
      AuthorizationCode: 60,
      Grant: 24 * 3600,
      Interaction: 3600,
      RefreshToken: 24 * 3600,
      Session: 24 * 3600,
    },
  });
  provider.use(interactions(provider));
  return provider;
}

/** Every user agrees to everything: a consent page would say nothing about the filter. */
async function loadExistingGrant(ctx) {
  const { client, session, provider, params } = ctx.oidc;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  grant.addResourceScope(RESOURCE, "openid");
  grant.addOIDCClaims(Object.values(CLAIMS).flat());
  await grant.save();
  return grant;
}

/** `GET /interaction/:uid` is the form, `POST` its answer. */
function interactions(provider) {
  return async (ctx, next) => {
    if (!/^\/interaction\/[\w-]+$/.test(ctx.path)) return next();
    try {
      await provider.interactionDetails(ctx.req, ctx.res);
    } catch {
      ctx.status = 400;
      ctx.type = "html";
      ctx.body = errorPage("this sign-in is over", "go back to where it began");
      return undefined;
    }
    ctx.type = "html";
    ctx.set("cache-control", "no-store");
    if (ctx.method !== "POST") {
      ctx.body = loginPage(ctx.path);
      return undefined;
    }
    const login = new URLSearchParams(await readBody(ctx.req)).get("login")?.trim().toLowerCase() ?? "";
    if (!findAccount(ctx, login)) {
      ctx.status = 422;
      ctx.body = loginPage(ctx.path, "There is no user with this name.");
      return undefined;
    }
    ctx.respond = false;
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: login } });
    return undefined;
  };
}

/** The whole body of a request, as text; a form of this provider is never long. */
export async function readBody(request, limit = 64 * 1024) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > limit) throw new Error("request body too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
