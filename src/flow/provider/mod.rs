//! The OpenID provider for the flows: its metadata and keys, which the worker caches, and the grants that end in a
//! session.

mod cached_document;
mod client_auth;
mod document;
pub(super) mod sign_in_error;
mod skipped_keys;
mod token_endpoint;

use std::future::Future;
use std::rc::Rc;

use log::warn;
use serde_json::{Map, Value};

use self::cached_document::CachedDocument;
use self::sign_in_error::SignInError;
use self::skipped_keys::SkippedKeyLog;
use self::token_endpoint::TokenEndpoint;
use super::io::{Count, Io};
use super::outcome::Unavailable;
use super::secret_watch::SecretWatch;
use super::secrets::Secrets;
use super::util::gate::Gate;
use crate::config::ProviderKind;
use crate::oidc::{
    ClaimNames, ClientAuth, ErrorScope, Expected, IdTokenError, Identity, Jwks, LogoutToken, Metadata,
    TokenResponse, Userinfo,
};
use crate::runtime::rate::LogLimit;
use crate::session::{Claims, Session};
use crate::{config, oidc};

/// One provider, with what a worker knows of it.
pub(super) struct Provider<I> {
    config: Rc<config::ProviderConfig>,
    io: I,
    metadata: CachedDocument<Metadata>,
    keys: CachedDocument<Jwks>,
    token_endpoint: TokenEndpoint<I>,
    skipped_keys: Rc<SkippedKeyLog>,
    refreshes: Gate<I>,
    /// The limit of log lines about incomplete answers.
    lines: LogLimit,
}

/// The result of a refresh grant.
pub(super) struct Renewed {
    /// The session with the new tokens.
    pub(super) session: Session,
    /// Why a sign-in with this answer would be refused. Then the session lasts no longer than the old one.
    pub(super) refused: Option<SignInError>,
}

/// Whom the claims are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// A user who signs in.
    New,
    /// The user of a session. The session keeps what the claims do not say.
    OfTheSession,
}

impl<I: Io> Provider<I> {
    pub(super) fn new(
        config: config::ProviderConfig,
        secrets: &Rc<Secrets>,
        secret_watch: &Rc<SecretWatch<I>>,
        io: I,
    ) -> Self {
        let config = Rc::new(config);
        let token_endpoint = TokenEndpoint::new(&config, secrets, secret_watch, io.clone());
        Self::with(config, token_endpoint, io)
    }

    fn with(config: Rc<config::ProviderConfig>, token_endpoint: TokenEndpoint<I>, io: I) -> Self {
        let refreshes = Gate::new(&io, config.request_timeout, Count::RefreshesBusy);
        Self {
            config,
            io,
            metadata: CachedDocument::default(),
            keys: CachedDocument::default(),
            token_endpoint,
            skipped_keys: Rc::default(),
            refreshes,
            lines: LogLimit::default(),
        }
    }

    /// Another issuer, of which this worker knows nothing yet.
    pub(super) fn of_issuer(&self, config: config::ProviderConfig) -> Self {
        let config = Rc::new(config);
        let token_endpoint = self.token_endpoint.of_issuer(&config);
        Self::with(config, token_endpoint, self.io.clone())
    }

    /// The options of the provider.
    pub(super) fn config(&self) -> &config::ProviderConfig {
        &self.config
    }

    /// The provider's endpoints.
    pub(super) async fn metadata(&self) -> Result<Rc<Metadata>, Unavailable> {
        self.metadata.get(&self.io, || document::metadata(self.io.clone(), Rc::clone(&self.config))).await
    }

    /// Redeems an authorization code for a session.
    pub(super) async fn redeem(
        &self,
        code: &str,
        redirect_uri: &str,
        code_verifier: Option<&str>,
        nonce_hash: &str,
    ) -> Result<Session, SignInError> {
        let metadata = self.metadata().await?;
        let endpoint = &metadata.token_endpoint;
        let request =
            |client: &ClientAuth<'_>| oidc::code_grant(endpoint, client, code, redirect_uri, code_verifier);
        let tokens =
            self.token_endpoint.grant(&metadata, &request).await?.whole().map_err(SignInError::Grant)?;
        let nonce_hash = (!self.config.insecure_skip_nonce).then_some(nonce_hash);
        self.new_session(&metadata, &tokens, nonce_hash).await.map_err(|error| match error {
            SignInError::Unavailable(reason) => SignInError::CodeUsed(reason),
            error => error,
        })
    }

    /// The session of a code's tokens.
    async fn new_session(
        &self,
        metadata: &Metadata,
        tokens: &TokenResponse,
        nonce_hash: Option<&str>,
    ) -> Result<Session, SignInError> {
        let id_token = tokens.id_token.as_deref().ok_or(SignInError::NoIdToken)?;
        let claims = self.verify(metadata, id_token, nonce_hash, true).await?;
        let mut session = Session::default();
        self.identify(Some(metadata), &claims, tokens, &mut session, Whose::New).await?;
        self.keep_tokens(tokens, &mut session);
        Ok(session)
    }

    /// Uses the refresh token of `old`. With the answer that token is used up. So the new tokens are kept whatever else
    /// the answer lacks, unless it is about another user.
    pub(super) async fn refresh(&self, old: &Session) -> Result<Renewed, SignInError> {
        let metadata = self.metadata().await?;
        // Without the keys, the refresh token would be used up for an answer that cannot be checked.
        self.keys(&metadata).await?;
        let _permit = self.refreshes.enter().await?;
        let refresh_token = String::from_utf8_lossy(&old.refresh_token);
        let request =
            |client: &ClientAuth<'_>| oidc::refresh_grant(&metadata.token_endpoint, client, &refresh_token);
        let tokens = self.token_endpoint.grant(&metadata, &request).await?;
        let mut session = old.clone();
        let error = match self.renew_identity(&metadata, old, &tokens, &mut session).await {
            Ok(()) => {
                self.keep_tokens(&tokens, &mut session);
                return Ok(Renewed { session, refused: None });
            }
            Err(SignInError::OtherSubject) => return Err(SignInError::OtherSubject),
            Err(error) => error,
        };
        if let Some(left_out) = self.lines.next(self.io.now()) {
            warn!("refresh: {error}, so the session keeps its previous user and claims{left_out}");
        }
        session = old.clone();
        self.keep_tokens(&TokenResponse { id_token: None, ..tokens }, &mut session);
        if error.about() != ErrorScope::Token {
            return Ok(Renewed { session, refused: None });
        }
        session.expires_on = old.expires_on;
        Ok(Renewed { session, refused: Some(error) })
    }

    /// OpenID Connect Core 12.2: the answer may lack an ID token. If it has one, it must be about the same user.
    async fn renew_identity(
        &self,
        metadata: &Metadata,
        old: &Session,
        tokens: &TokenResponse,
        session: &mut Session,
    ) -> Result<(), SignInError> {
        let Some(id_token) = tokens.id_token.as_deref() else {
            return Ok(());
        };
        // Even an invalid ID token is compared: the tokens beside it may be another user's.
        let before = oidc::unverified_subject(&old.id_token);
        let now = oidc::unverified_subject(id_token.as_bytes());
        if before.is_some() && now.is_some() && before != now {
            return Err(SignInError::OtherSubject);
        }
        let claims = self.verify(metadata, id_token, None, true).await?;
        if before.is_some() && now.is_none() {
            return Err(SignInError::IdToken(IdTokenError::Malformed));
        }
        self.identify(Some(metadata), &claims, tokens, session, Whose::OfTheSession).await
    }

    /// The session of a bearer token. The token may have been issued to another client (`azp`), if the audience allows
    /// it.
    pub(super) async fn bearer(&self, token: &str) -> Result<Session, SignInError> {
        let metadata = self.metadata().await?;
        let claims = self.verify(&metadata, token, None, false).await?;
        let tokens = TokenResponse {
            access_token: token.to_owned(),
            id_token: Some(token.to_owned()),
            refresh_token: None,
            expires_in: None,
            is_whole: true,
        };
        let mut session = Session::default();
        self.identify(None, &claims, &tokens, &mut session, Whose::New).await?;
        self.keep_tokens(&tokens, &mut session);
        session.expires_on = oidc::expiry(&claims);
        Ok(session)
    }

    /// A logout token, if it is valid. Its audience is `aud`, whatever `oidc_audience_claims` says of ID tokens.
    pub(super) async fn logout_token(&self, token: &str) -> Result<LogoutToken, SignInError> {
        let metadata = self.metadata().await?;
        let audience_claims = &["aud".to_owned()];
        let claims = self.check(&metadata, |keys| {
            oidc::verify_logout(token, keys, &Expected { audience_claims, ..self.expected(&metadata) })
        });
        let claims = claims.await?.map_err(SignInError::IdToken)?;
        LogoutToken::of(&claims).map_err(SignInError::IdToken)
    }

    /// Waits for the keys. After that, the check of a token waits only for a key that is new.
    pub(super) async fn has_keys(&self) -> Result<(), Unavailable> {
        let metadata = self.metadata().await?;
        self.keys(&metadata).await.map(drop)
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Rc<Jwks>, Unavailable> {
        self.keys.get(&self.io, || self.fetch_keys(metadata)).await
    }

    fn fetch_keys(&self, metadata: &Metadata) -> impl Future<Output = Result<Jwks, Unavailable>> + use<I> {
        let skipped_keys = Rc::clone(&self.skipped_keys);
        document::keys(self.io.clone(), metadata.jwks_uri.clone(), Rc::clone(&self.config), skipped_keys)
    }

    /// Whether tokens of this issuer may be this provider's.
    pub(super) fn may_have_issued(&self, issuer: &str) -> bool {
        self.config.insecure_skip_issuer_verification || self.config.issuer_url == issuer
    }

    /// The claims of an ID token, if it is valid.
    async fn verify(
        &self,
        metadata: &Metadata,
        id_token: &str,
        nonce_hash: Option<&str>,
        checks_party: bool,
    ) -> Result<Map<String, Value>, SignInError> {
        let claims = self.check(metadata, |keys| {
            oidc::verify(id_token, keys, &Expected { checks_party, nonce_hash, ..self.expected(metadata) })
        });
        claims.await?.map_err(SignInError::IdToken)
    }

    /// What every token of this provider must say.
    fn expected<'a>(&'a self, metadata: &'a Metadata) -> Expected<'a> {
        let config = &self.config;
        Expected {
            issuer: &metadata.issuer,
            skip_issuer_verification: config.insecure_skip_issuer_verification,
            client_id: &config.client_id,
            extra_audiences: &config.extra_audiences,
            audience_claims: &config.audience_claims,
            checks_party: false,
            nonce_hash: None,
            now: self.io.now(),
        }
    }

    /// Checks a token with the provider's keys. If the key is unknown, the keys are fetched once more.
    async fn check(
        &self,
        metadata: &Metadata,
        check: impl Fn(&Jwks) -> Result<Map<String, Value>, IdTokenError>,
    ) -> Result<Result<Map<String, Value>, IdTokenError>, Unavailable> {
        match check(&*self.keys(metadata).await?) {
            Err(IdTokenError::UnknownKey) => {
                Ok(check(&*self.keys.again(&self.io, || self.fetch_keys(metadata)).await?))
            }
            checked => Ok(checked),
        }
    }

    /// The user by the ID token's claims. Userinfo is asked for what they lack. The session keeps what neither says.
    /// Without `metadata` it is a bearer token: userinfo would not take it, and a program may have no email address.
    async fn identify(
        &self,
        metadata: Option<&Metadata>,
        claims: &Map<String, Value>,
        tokens: &TokenResponse,
        session: &mut Session,
        whose: Whose,
    ) -> Result<(), SignInError> {
        self.check_tenant(claims)?;
        let names = ClaimNames {
            user: &self.config.user_id_claim,
            email: &self.config.email_claim,
            groups: &self.config.groups_claim,
            additional: &self.config.additional_claims,
        };
        let mut identity = Identity::from_claims(claims, &names);
        let endpoint = metadata
            .and_then(|metadata| Some((metadata, metadata.userinfo_endpoint.as_ref()?)))
            .filter(|_| !self.config.skip_claims_from_profile_url);
        if let (true, Some((metadata, endpoint))) = (identity.is_incomplete(), endpoint) {
            match self.userinfo(metadata, endpoint, &tokens.access_token, claims).await {
                Ok(more) => identity.complete(&more, &names),
                Err(error) if whose == Whose::New || error == SignInError::OtherSubject => return Err(error),
                Err(error) => {
                    if let Some(left_out) = self.lines.next(self.io.now()) {
                        warn!(
                            "refresh: {error}, so the session keeps the claims that the ID token lacks{left_out}"
                        );
                    }
                    // At some providers a user can enter another user's email address. A sign-in would have failed.
                    if !self.config.allow_unverified_email {
                        identity.drop_unverified_email(&names);
                    }
                }
            }
        }
        if identity.email_verified == Some(false) && !self.config.allow_unverified_email {
            return Err(SignInError::UnverifiedEmail);
        }
        let has_groups = identity.present.groups;
        Self::take(identity, session);
        if session.user.is_empty() {
            session.user = oidc::claim_text(claims, "sub").into_bytes();
        }
        if session.email.is_empty() {
            // AD FS has accounts without an email address.
            let email = match (metadata, self.config.kind) {
                (None, _) => "sub",
                (_, ProviderKind::Adfs) => "upn",
                _ => "",
            };
            session.email = oidc::claim_text(claims, email).into_bytes();
        }
        if session.email.is_empty() && whose == Whose::New {
            return Err(SignInError::NoEmail);
        }
        if self.config.kind == ProviderKind::Keycloak {
            let roles = oidc::keycloak_roles(tokens.access_token.as_bytes()).ok_or(SignInError::NoRoles)?;
            if !has_groups {
                // The access token has all roles: a role that is missing there was taken away.
                session.groups.retain(|group| !group.starts_with(oidc::KEYCLOAK_ROLE.as_bytes()));
            }
            session.groups.extend(roles.into_iter().map(String::into_bytes));
        }
        Ok(())
    }

    /// Writes what the claims say of the user into the session. For GitLab the user is the nickname, if there is one.
    fn take(identity: Identity, session: &mut Session) {
        let info = &mut session.info;
        let said = identity.present;
        for (said, value, mine) in [
            (said.user, identity.user, &mut info.user),
            (said.email, identity.email, &mut info.email),
            (said.preferred_username, identity.preferred_username, &mut info.preferred_username),
        ] {
            if said {
                *mine = value.into_bytes();
            }
        }
        if said.groups {
            session.groups = identity.groups.into_iter().map(String::into_bytes).collect();
        }
        let mut claims = Claims::from_json(&identity.additional_claims);
        claims.complete(&session.additional_claims);
        session.additional_claims = claims;
    }

    /// If a provider has many tenants, any user can have an account in one of them.
    fn check_tenant(&self, claims: &Map<String, Value>) -> Result<(), SignInError> {
        if self.config.kind != ProviderKind::EntraId {
            return Ok(());
        }
        let allowed = &self.config.allowed_tenants;
        let tenant = oidc::entra_tenant(claims).ok_or(SignInError::Tenant)?;
        if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == tenant) {
            return Err(SignInError::Tenant);
        }
        if oidc::has_entra_overage(claims) {
            warn!("sign-in: Entra ID has more groups for the account than a token can have, and gave none");
        }
        Ok(())
    }

    async fn userinfo(
        &self,
        metadata: &Metadata,
        endpoint: &str,
        access_token: &str,
        claims: &Map<String, Value>,
    ) -> Result<Map<String, Value>, SignInError> {
        let request = oidc::userinfo_request(endpoint, access_token);
        let timeout = self.config.request_timeout;
        let answer = self.io.call(request, timeout).await.map_err(|_| Unavailable::Provider)?;
        let status = answer.status();
        if oidc::is_temporary(status) {
            if let Some(left_out) = self.lines.next(self.io.now()) {
                warn!("userinfo: the provider answered {}{left_out}", status.as_u16());
            }
            return Err(Unavailable::Provider.into());
        }
        if !status.is_success() {
            return Err(self.unusable_userinfo(&format!("the provider answered {}", status.as_u16())));
        }
        let more = match oidc::parse_userinfo(answer.body()) {
            Ok(Userinfo::Plain(claims)) => claims,
            Ok(Userinfo::Jwt(token)) => {
                let check = |keys: &Jwks| oidc::verify_userinfo(token, keys, &self.expected(metadata));
                self.check(metadata, check).await?.map_err(SignInError::Userinfo)?
            }
            Err(error) => return Err(self.unusable_userinfo(&error.to_string())),
        };
        // OpenID Connect Core 5.3.2: the subject must be the same. Otherwise an access token that was swapped would
        // bring another user's claims.
        match oidc::subject(&more) {
            None => Err(SignInError::NoSubject),
            subject if subject == oidc::subject(claims) => Ok(more),
            Some(_) => Err(SignInError::OtherSubject),
        }
    }

    fn unusable_userinfo(&self, why: &str) -> SignInError {
        if let Some(left_out) = self.lines.next(self.io.now()) {
            warn!("userinfo: {why}; see skip_claims_from_profile_url{left_out}");
        }
        self.io.count(Count::Misconfigured);
        Unavailable::Misconfigured.into()
    }

    /// Writes the tokens and times of a grant into the session. It keeps the ID token and the refresh token that an
    /// answer lacks.
    fn keep_tokens(&self, tokens: &TokenResponse, session: &mut Session) {
        let now = self.io.now();
        session.access_token = tokens.access_token.clone().into_bytes();
        if let Some(id_token) = &tokens.id_token {
            session.id_token = id_token.clone().into_bytes();
        }
        if let Some(refresh_token) = &tokens.refresh_token {
            session.refresh_token = refresh_token.clone().into_bytes();
        }
        session.created_at = Some(now);
        session.expires_on = tokens.expires_in.map(|lifetime| now.after(lifetime));
    }
}
