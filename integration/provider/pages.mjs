// The pages of the provider: a form with one field, a sign-out, and an error. They load nothing.

import { ACCOUNTS } from "./accounts.mjs";

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const page = (title, body) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
  body { display: grid; min-height: 100vh; place-items: center; margin: 0; }
  main { width: min(24rem, 90vw); }
  h1 { font-size: 1.5rem; }
  label { display: block; margin-bottom: .25rem; }
  input, button { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit; }
  button { margin-top: 1rem; cursor: pointer; }
  [role=alert] { color: light-dark(#b00020, #ff8a8a); }
  small { display: block; margin-top: 1.5rem; opacity: .75; }
</style>
</head>
<body><main>
<h1>${escape(title)}</h1>
${body}
</main></body>
</html>
`;

/** The form. `action` is where it goes, `mistake` what was wrong with the last answer. */
export const loginPage = (action, mistake) => page("Demo provider", `
${mistake ? `<p role="alert" id="mistake">${escape(mistake)}</p>` : ""}
<form method="post" action="${escape(action)}">
  <label for="login">User name</label>
  <input id="login" name="login" autocomplete="username" autocapitalize="none" spellcheck="false"
    list="accounts" required autofocus${mistake ? ' aria-invalid="true" aria-describedby="mistake"' : ""}>
  <datalist id="accounts">
    ${Object.keys(ACCOUNTS).map((name) => `<option value="${escape(name)}">`).join("")}
  </datalist>
  <button type="submit">Sign in</button>
</form>
<small>For demos and tests: no password is asked for.
Accounts: ${Object.keys(ACCOUNTS).map(escape).join(", ")}.</small>`);

/** The question of a sign-out. `form` is oidc-provider's, with the id `op.logoutForm`. */
export const logoutPage = (form) => page("Sign out of the demo provider?", `
${form}
<button form="op.logoutForm" name="logout" value="yes" autofocus>Sign out</button>
<button form="op.logoutForm">Stay signed in</button>`);

export const signedOutPage = () => page("Signed out of the demo provider", "");

export const errorPage = (error, description) => page("The provider refused", `
<p role="alert">${escape(error)}${description ? `: ${escape(description)}` : ""}</p>`);
