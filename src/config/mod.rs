//! The filter JSON, checked: oauth2-proxy option names in, a `Config` out, every error with its key.
