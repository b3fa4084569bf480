// The store of the provider's sessions, codes and tokens: in memory, with the adapter interface of
// oidc-provider. One store outlives several Provider instances, so keys can be rotated at run time.

export class Store {
  #clients;
  #entries = new Map(); // "Model:id" -> { payload, until }

  /** @param {() => object[]} clients the clients as they are registered now */
  constructor(clients) {
    this.#clients = clients;
  }

  /** Forgets every grant, and with it every code, access token and refresh token. */
  revokeAll() {
    for (const [key, { payload }] of this.#entries) {
      if (payload.grantId || key.startsWith("Grant:")) this.#entries.delete(key);
    }
  }

  /** The adapter factory that oidc-provider asks for, one adapter a model. */
  adapter = (model) => ({
    find: async (id) => {
      if (model === "Client") return this.#clients().find((client) => client.client_id === id);
      return this.#get(`${model}:${id}`);
    },
    findByUid: async (uid) => this.#search(model, (payload) => payload.uid === uid),
    findByUserCode: async (code) => this.#search(model, (payload) => payload.userCode === code),
    upsert: async (id, payload, expiresIn) => {
      const until = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
      this.#entries.set(`${model}:${id}`, { payload, until });
    },
    consume: async (id) => {
      const payload = this.#get(`${model}:${id}`);
      if (payload) payload.consumed = Math.floor(Date.now() / 1000);
    },
    destroy: async (id) => {
      this.#entries.delete(`${model}:${id}`);
    },
    revokeByGrantId: async (grantId) => {
      // Of this model alone: a sign-in under way has a grant too, and lives on when that is revoked.
      for (const [key, { payload }] of this.#entries) {
        if (key.startsWith(`${model}:`) && payload.grantId === grantId) this.#entries.delete(key);
      }
    },
  });

  #get(key) {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (entry.until > Date.now()) return entry.payload;
    this.#entries.delete(key);
    return undefined;
  }

  #search(model, fits) {
    for (const [key, { payload, until }] of this.#entries) {
      if (key.startsWith(`${model}:`) && until > Date.now() && fits(payload)) return payload;
    }
    return undefined;
  }
}
