//! base64url (RFC 4648 section 5) as oauth2-proxy writes and reads it, with and without padding.
//!
//! Both engines are as lenient as Go's decoder: unused bits at the end may be set.

use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);

/// Signed values.
pub(crate) const PADDED: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Tickets and the cookie secret.
pub(crate) const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    LENIENT.with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);
