//! The provider's token endpoint: a grant is sent with the client's secret, in the way that the provider takes.
//!
//! ```text
//! grant ─► methods of client authentication, in turn ─┬─ tokens, or an error ──► that is the answer
//!               ▲                                     └─ invalid_client from each
//!               └── once more, with a newer secret ◄── the secret is read anew ◄──┘
//! ```

use std::rc::Rc;

use http::{Request, Response};

use super::client_auth::ClientAuthMethods;
use super::sign_in_error::SignInError;
use crate::config::{ProviderConfig, Secret};
use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;
use crate::flow::secret_watch::SecretWatch;
use crate::flow::secrets::Secrets;
use crate::oidc::{self, ClientAuth, ClientAuthMethod, ErrorScope, GrantError, Metadata, TokenResponse};

/// The token endpoint, and what this worker knows of the way to authenticate there.
pub(super) struct TokenEndpoint<I> {
    config: Rc<ProviderConfig>,
    secrets: Rc<Secrets>,
    secret_watch: Rc<SecretWatch<I>>,
    io: I,
    client_auth: ClientAuthMethods,
}

impl<I: Io> TokenEndpoint<I> {
    pub(super) fn new(
        config: &Rc<ProviderConfig>,
        secrets: &Rc<Secrets>,
        secret_watch: &Rc<SecretWatch<I>>,
        io: I,
    ) -> Self {
        Self {
            config: Rc::clone(config),
            secrets: Rc::clone(secrets),
            secret_watch: Rc::clone(secret_watch),
            io,
            client_auth: ClientAuthMethods::default(),
        }
    }

    /// The token endpoint of another issuer, of which this worker knows nothing yet.
    pub(super) fn of_issuer(&self, config: &Rc<ProviderConfig>) -> Self {
        Self::new(config, &self.secrets, &self.secret_watch, self.io.clone())
    }

    /// Sends a grant. If the provider rejects the client, its secret may have just changed: then it is read anew, and
    /// the grant is sent once more. A server that rejects the client has not looked at the code.
    pub(super) async fn grant(
        &self,
        metadata: &Metadata,
        request: &dyn Fn(&ClientAuth<'_>) -> Request<Vec<u8>>,
    ) -> Result<TokenResponse, SignInError> {
        let secret = self.secrets.client();
        if let Some(tokens) = self.grant_with(&secret, metadata, request).await? {
            return Ok(tokens);
        }
        self.secret_watch.ask().await;
        let newer = self.secrets.client();
        if newer != secret
            && let Some(tokens) = self.grant_with(&newer, metadata, request).await?
        {
            return Ok(tokens);
        }
        self.client_auth.none_was_right(self.io.now());
        Err(self.client_refused())
    }

    /// Sends a grant with this secret, and tries the methods of client authentication that the provider may take. Gives
    /// `None` if the provider rejects the client with each of them.
    async fn grant_with(
        &self,
        secret: &Secret,
        metadata: &Metadata,
        request: &dyn Fn(&ClientAuth<'_>) -> Request<Vec<u8>>,
    ) -> Result<Option<TokenResponse>, SignInError> {
        let mut client = ClientAuth {
            client_id: &self.config.client_id,
            client_secret: secret.expose(),
            method: ClientAuthMethod::Basic,
        };
        let methods = client.methods(metadata, self.config.token_endpoint_auth_method);
        let mut is_refused = false;
        for method in self.client_auth.to_try(methods, self.io.now()) {
            client.method = method;
            let timeout = self.config.request_timeout;
            let answer = self.io.call(request(&client), timeout).await.map_err(|_| Unavailable::Provider)?;
            if oidc::is_invalid_client(answer.status(), answer.body()) {
                is_refused = true;
                continue;
            }
            let tokens = tokens(&answer);
            if is_refused {
                match &tokens {
                    // The request before may have used up the code, if the server looks at the code first.
                    Ok(_) | Err(SignInError::InvalidGrant) => self.client_auth.was_right(method),
                    // The server rejects this method, which is not the first reason. Or the method is right, and a
                    // client made the code up: then the next user who signs in has to get as far as this method.
                    Err(SignInError::Grant(error)) if *error != GrantError::Malformed => {
                        return Err(self.client_refused());
                    }
                    Err(_) => {}
                }
            }
            if matches!(&tokens, Err(SignInError::Grant(error)) if error.about() == ErrorScope::Client) {
                self.io.count(Count::ClientRefused);
            }
            return tokens.map(Some);
        }
        Ok(None)
    }

    fn client_refused(&self) -> SignInError {
        self.io.count(Count::ClientRefused);
        SignInError::Grant(GrantError::InvalidClient)
    }
}

fn tokens(answer: &Response<Vec<u8>>) -> Result<TokenResponse, SignInError> {
    TokenResponse::parse(answer.status(), answer.body()).map_err(|error| match error {
        GrantError::InvalidGrant => SignInError::InvalidGrant,
        GrantError::Temporary => SignInError::Unavailable(Unavailable::Provider),
        error => SignInError::Grant(error),
    })
}
