//! OpenID Connect without I/O: requests and answers as values.
