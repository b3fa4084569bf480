// The users that can sign in. There are no passwords: this provider is for a demo and for tests.

import { createHash } from "node:crypto";

const MANY_GROUPS = Array.from({ length: 400 }, (_, number) => `team-${number}-${(number * 7919) ** 3}`);

// No compression makes these shorter, as with the identifiers that some providers give for groups.
const HASHED_GROUPS = Array.from({ length: 80 }, (_, number) =>
  createHash("sha256").update(String(number)).digest("hex"),
);

export const ACCOUNTS = {
  alice: {
    name: "Alice Example",
    preferred_username: "alice",
    email: "alice@example.com",
    email_verified: true,
    groups: ["admins", "staff"],
  },
  bob: {
    name: "Bob Example",
    preferred_username: "bob",
    email: "bob@example.com",
    email_verified: false,
    groups: ["staff"],
  },
  carol: {
    name: "Carol Example",
    preferred_username: "carol",
    email: "carol@example.com",
    email_verified: true,
    groups: ["everything", ...MANY_GROUPS],
  },
  dave: {
    name: "Dave Example",
    preferred_username: "dave",
    email: "dave@example.com",
    email_verified: true,
    groups: HASHED_GROUPS,
  },
  mallory: {
    name: "Mallory Example",
    preferred_username: "mallory",
    email: "mallory@elsewhere.example",
    email_verified: true,
    groups: [],
  },
};

/** The account in the form that oidc-provider asks for; undefined for an unknown name. */
export function findAccount(_ctx, name) {
  if (!Object.hasOwn(ACCOUNTS, name)) return undefined;
  return { accountId: name, claims: async () => ({ sub: name, ...ACCOUNTS[name] }) };
}

/** The claims of each scope. Many providers give the groups with the profile. */
export const CLAIMS = {
  openid: ["sub"],
  email: ["email", "email_verified"],
  profile: ["name", "preferred_username", "groups"],
  groups: ["groups"],
};
