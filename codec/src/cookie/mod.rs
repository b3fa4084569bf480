//! HTTP cookies as bytes (RFC 6265), signed and split as oauth2-proxy v7 does. Knows no session.
//!
//! ```text
//! Cookie: a=1; _oauth2_proxy_0=QUJD…; _oauth2_proxy_1=…|1700000000|mac=
//!         └─ jar ─┘└──────── split / join ────────────┘└──── signed ───┘
//! ```

mod attributes;
mod csrf_name;
mod jar;
mod secret;
mod signed;
mod split;

pub use self::attributes::{Attributes, MaxAge, SameSite, is_domain, without_dot};

pub use self::csrf_name::{csrf_cookie_name, is_csrf_name};
pub use self::jar::Jar;
pub use self::secret::{CookieSecret, CookieSecrets, MAX_SECRETS, SecretId};
pub use self::signed::{
    Allowance, InvalidSignature, Verified, is_current, is_signed, newest_first, sign, signed_at, signed_part,
    verify,
};
pub use self::split::{SessionCookies, SetCookie, sent_bytes, split};
