//! Modes in which another server signs users in: an oauth2-proxy beside the filter, or a login app.

mod app;
mod beside;

use serde_json::{Value, json};

use super::Site;

/// A site of this mode that has nothing to ask of the provider.
pub(super) fn site(mode: Value, options: Value) -> Site {
    let mut all = json!({ "oidc_issuer_url": "", "client_id": "", "client_secret": "" });
    for more in [mode, options] {
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    Site::new(all)
}
