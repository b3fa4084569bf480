//! Where cookies, sessions and the provider meet: what a request is answered with.
