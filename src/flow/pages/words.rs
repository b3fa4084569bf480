//! All words of the pages, in each language. A language without one of them does not compile.
//!
//! To add a language, add a table here and its name in [`Language`].

use crate::config::Language;
use crate::flow::Unavailable;
use crate::flow::http::request::RequestHead;

/// The words of one language. A field is a whole sentence, or a heading, or the words on a button, unless it says what
/// follows it.
#[derive(Debug)]
#[allow(missing_docs, reason = "the English table has the words")]
pub struct Words {
    /// The name of the language (BCP 47), for `<html lang>`.
    pub lang: &'static str,

    // The sign-in page
    pub sign_in: &'static str,
    pub please_sign_in: &'static str,
    /// Before the name of the provider.
    pub sign_in_with: &'static str,

    // The pages after a sign-in or a sign-out
    pub signed_in: &'static str,
    pub signed_in_before: &'static str,
    pub go_on: &'static str,
    pub signed_out: &'static str,
    pub session_has_ended: &'static str,
    pub sign_in_again: &'static str,
    pub sign_out_everywhere: &'static str,
    pub still_signed_in_there: &'static str,
    pub provider_is_silent: &'static str,
    pub sign_out_there: &'static str,

    // The sessions of a user
    pub your_sessions: &'static str,
    /// Before the name of a user.
    pub sessions_of: &'static str,
    pub no_sessions: &'static str,
    /// Before a time.
    pub began: &'static str,
    /// Before a time.
    pub last_used: &'static str,
    pub this_session: &'static str,
    pub end: &'static str,
    pub end_all: &'static str,
    /// Before the field for the name of a user.
    pub sessions_of_user: &'static str,
    pub show: &'static str,
    pub sign_in_for_sessions: &'static str,
    pub sessions_not_shown: &'static str,
    pub sessions_not_ended: &'static str,
    pub button_is_too_old: &'static str,

    // Something does not work. A sentence without a full stop has a colon and a reason after it
    pub not_available: &'static str,
    pub try_again: &'static str,
    pub wait: &'static str,
    pub waiting_does_not_help: &'static str,
    /// Before the reference.
    pub reference: &'static str,
    pub page_not_shown: &'static str,
    pub still_signed_in: &'static str,
    pub not_signed_in: &'static str,
    pub sign_in_not_possible: &'static str,
    pub sign_in_not_finished: &'static str,
    pub session_too_large: &'static str,
    /// Before, between and after two numbers of bytes: of the session, and of the largest session.
    pub session_size: [&'static str; 3],

    // A user who may not see a page
    pub no_access: &'static str,
    pub account_has_no_access: &'static str,
    pub other_account: &'static str,

    // A sign-in that failed
    pub sign_in_failed: &'static str,
    pub provider_refused: &'static str,
    pub link_incomplete: &'static str,
    pub sign_in_is_over: &'static str,
    pub no_verified_email: &'static str,
    pub unusable_answer: &'static str,
    pub unknown_account: &'static str,
    pub client_refused: &'static str,
    pub invalid_answer: &'static str,

    // Reasons. They follow a colon, and a full stop follows them
    pub reasons: Reasons,
}

/// Why something is not available: see [`Unavailable`].
#[derive(Debug)]
pub struct Reasons {
    pub provider: &'static str,
    pub misconfigured: &'static str,
    pub redis: &'static str,
    pub no_index: &'static str,
    pub secret: &'static str,
    pub random: &'static str,
    pub busy: &'static str,
    pub too_large: &'static str,
}

/// English.
pub(in crate::flow) static ENGLISH: Words = Words {
    lang: "en",
    sign_in: "Sign in",
    please_sign_in: "Please sign in to continue.",
    sign_in_with: "Sign in with ",
    signed_in: "You are signed in",
    signed_in_before: "This browser is already signed in, so this sign-in was not needed. You still have the same account as \
                       before.",
    go_on: "Continue",
    signed_out: "You are signed out",
    session_has_ended: "Your session on this site has ended.",
    sign_in_again: "Sign in again",
    sign_out_everywhere: "Sign out on all devices",
    still_signed_in_there: "You may still be signed in at the sign-in service. On a shared device, sign out there too.",
    provider_is_silent: "The sign-in service does not answer, so you are still signed in there.",
    sign_out_there: "Sign out there too",
    your_sessions: "Your sessions",
    sessions_of: "Sessions of ",
    no_sessions: "There are none.",
    began: "Signed in ",
    last_used: "Last used ",
    this_session: "This session",
    end: "End",
    end_all: "End all sessions",
    sessions_of_user: "Sessions of the user ",
    show: "Show",
    sign_in_for_sessions: "Sign in to see your sessions.",
    sessions_not_shown: "Your sessions cannot be shown",
    sessions_not_ended: "Not all sessions have ended",
    button_is_too_old: "This button works for two minutes. Sign in again to sign out everywhere.",
    not_available: "Not available right now",
    try_again: "Try again",
    wait: "Please wait a few seconds before you try again.",
    waiting_does_not_help: "Waiting does not help",
    reference: "If you ask for help, give this reference:",
    page_not_shown: "This page cannot be shown",
    still_signed_in: "You are still signed in",
    not_signed_in: "You are not signed in",
    sign_in_not_possible: "You cannot sign in just now",
    sign_in_not_finished: "Your sign-in is not finished",
    session_too_large: "Your session is too large",
    session_size: [
        "this account has too many groups or other claims, so its session has ",
        " bytes, but at most ",
        " are allowed; the operator has to fix this",
    ],
    no_access: "No access to this page",
    account_has_no_access: "You are signed in, but this account has no access here.",
    other_account: "Sign in with another account",
    sign_in_failed: "Sign-in failed",
    provider_refused: "The sign-in service refused this sign-in. Please sign in again, or ask the operator of this site.",
    link_incomplete: "This sign-in link is incomplete. Please sign in again.",
    sign_in_is_over: "This sign-in is already finished, took too long, or began in another browser. Please sign in \
                      again.",
    no_verified_email: "The sign-in service has no verified email address for this account. Please verify it there, or \
                        use another account.",
    unusable_answer: "The sign-in service answers, but this site cannot use its answer. The operator has to fix this.",
    unknown_account: "The sign-in service knows you, but this account has no access here. You can sign in with another \
                      account.",
    client_refused: "The sign-in service refuses this site as its client. The operator has to fix this.",
    invalid_answer: "The sign-in service gave an invalid answer. The operator has to fix this.",
    reasons: Reasons {
        provider: "the sign-in service does not answer",
        misconfigured: "the sign-in service answers, but this site cannot use its answer; the operator has to fix this",
        redis: "the session store does not answer",
        no_index: "the session store does not let this proxy list the sessions of a user; the operator has to fix this",
        secret: "the proxy does not have its secrets yet; the operator has to provide them",
        random: "the proxy has no random numbers",
        busy: "there are too many such requests at the same time",
        too_large: "this account has too many groups or other claims for the session store; the operator has to fix this",
    },
};

/// German.
pub(super) static GERMAN: Words = Words {
    lang: "de",
    sign_in: "Anmelden",
    please_sign_in: "Bitte melden Sie sich an.",
    sign_in_with: "Anmelden mit ",
    signed_in: "Sie sind angemeldet",
    signed_in_before: "Dieser Browser ist schon angemeldet; diese Anmeldung war nicht nötig. Sie haben dasselbe Konto wie \
                       vorher.",
    go_on: "Weiter",
    signed_out: "Sie sind abgemeldet",
    session_has_ended: "Ihre Sitzung auf dieser Website ist beendet.",
    sign_in_again: "Neu anmelden",
    sign_out_everywhere: "Auf allen Geräten abmelden",
    still_signed_in_there: "Beim Anmeldedienst sind Sie vielleicht noch angemeldet. Melden Sie sich auf einem gemeinsam \
                            genutzten Gerät auch dort ab.",
    provider_is_silent: "Der Anmeldedienst antwortet nicht; dort sind Sie noch angemeldet.",
    sign_out_there: "Auch dort abmelden",
    your_sessions: "Ihre Sitzungen",
    sessions_of: "Sitzungen von ",
    no_sessions: "Es gibt keine.",
    began: "Angemeldet ",
    last_used: "Zuletzt benutzt ",
    this_session: "Diese Sitzung",
    end: "Beenden",
    end_all: "Alle Sitzungen beenden",
    sessions_of_user: "Sitzungen des Benutzers ",
    show: "Zeigen",
    sign_in_for_sessions: "Melden Sie sich an, um Ihre Sitzungen zu sehen.",
    sessions_not_shown: "Ihre Sitzungen können nicht gezeigt werden",
    sessions_not_ended: "Nicht alle Sitzungen sind beendet",
    button_is_too_old: "Diese Schaltfläche wirkt zwei Minuten lang. Melden Sie sich neu an, um sich überall abzumelden.",
    not_available: "Zurzeit nicht verfügbar",
    try_again: "Noch einmal versuchen",
    wait: "Bitte warten Sie ein paar Sekunden, bevor Sie es noch einmal versuchen.",
    waiting_does_not_help: "Warten hilft nicht",
    reference: "Wenn Sie um Hilfe bitten, nennen Sie diese Nummer:",
    page_not_shown: "Diese Seite kann nicht gezeigt werden",
    still_signed_in: "Sie sind noch angemeldet",
    not_signed_in: "Sie sind nicht angemeldet",
    sign_in_not_possible: "Sie können sich gerade nicht anmelden",
    sign_in_not_finished: "Ihre Anmeldung ist nicht fertig",
    session_too_large: "Ihre Sitzung ist zu groß",
    session_size: [
        "dieses Konto hat zu viele Gruppen oder andere Angaben, sodass seine Sitzung ",
        " Bytes hat, aber höchstens ",
        " erlaubt sind; der Betreiber muss das beheben",
    ],
    no_access: "Kein Zugriff auf diese Seite",
    account_has_no_access: "Sie sind angemeldet, aber dieses Konto hat hier keinen Zugriff.",
    other_account: "Mit einem anderen Konto anmelden",
    sign_in_failed: "Anmeldung fehlgeschlagen",
    provider_refused: "Der Anmeldedienst hat diese Anmeldung abgelehnt. Bitte melden Sie sich neu an, oder fragen Sie den \
                       Betreiber dieser Website.",
    link_incomplete: "Dieser Link zur Anmeldung ist unvollständig. Bitte melden Sie sich neu an.",
    sign_in_is_over: "Diese Anmeldung ist schon beendet, hat zu lange gedauert oder begann in einem anderen Browser. Bitte \
                      melden Sie sich neu an.",
    no_verified_email: "Der Anmeldedienst hat für dieses Konto keine bestätigte E-Mail-Adresse. Bitte bestätigen Sie sie \
                        dort, oder nehmen Sie ein anderes Konto.",
    unusable_answer: "Der Anmeldedienst antwortet, aber diese Website kann mit der Antwort nichts anfangen. Der Betreiber \
                      muss das beheben.",
    unknown_account: "Der Anmeldedienst kennt Sie, aber dieses Konto hat hier keinen Zugriff. Sie können sich mit einem \
                      anderen Konto anmelden.",
    client_refused: "Der Anmeldedienst lehnt diese Website ab. Der Betreiber muss das beheben.",
    invalid_answer: "Der Anmeldedienst hat eine ungültige Antwort gegeben. Der Betreiber muss das beheben.",
    reasons: Reasons {
        provider: "der Anmeldedienst antwortet nicht",
        misconfigured: "der Anmeldedienst antwortet, aber diese Website kann mit der Antwort nichts anfangen; der Betreiber \
                        muss das beheben",
        redis: "der Sitzungsspeicher antwortet nicht",
        no_index: "der Sitzungsspeicher lässt diesen Proxy die Sitzungen eines Benutzers nicht auflisten; der Betreiber \
                   muss das beheben",
        secret: "der Proxy hat seine Geheimnisse noch nicht; der Betreiber muss sie bereitstellen",
        random: "der Proxy hat keine Zufallszahlen",
        busy: "es gibt zu viele solche Anfragen zur gleichen Zeit",
        too_large: "dieses Konto hat für den Sitzungsspeicher zu viele Gruppen oder andere Angaben; der Betreiber muss das \
                    beheben",
    },
};

impl Words {
    /// The words for the browser of this request.
    pub(super) fn of(language: Language, head: &RequestHead) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::German => &GERMAN,
            Language::Browser => preferred(head).unwrap_or(&ENGLISH),
        }
    }

    /// Why something is not available.
    pub fn reason(&self, reason: Unavailable) -> &'static str {
        let reasons = &self.reasons;
        match reason {
            Unavailable::Provider => reasons.provider,
            Unavailable::Misconfigured => reasons.misconfigured,
            Unavailable::Redis => reasons.redis,
            Unavailable::NoIndex => reasons.no_index,
            Unavailable::Secret => reasons.secret,
            Unavailable::Random => reasons.random,
            Unavailable::Busy => reasons.busy,
            Unavailable::TooLarge(_) => reasons.too_large,
        }
    }
}

/// The first language of `Accept-Language` that there is (RFC 9110 section 12.5.4). Browsers list the languages that a
/// user prefers in this order, so the weights say nothing more, except that 0 refuses a language.
fn preferred(head: &RequestHead) -> Option<&'static Words> {
    let ranges = head.all("accept-language").flat_map(|value| value.split(|byte| *byte == b','));
    ranges.into_iter().find_map(|range| {
        let (tag, weight) =
            range.split_at(range.iter().position(|byte| *byte == b';').unwrap_or(range.len()));
        let language = tag.split(|byte| *byte == b'-').next()?.trim_ascii();
        let is_refused = weight.contains(&b'0') && !weight.iter().any(|byte| matches!(byte, b'1'..=b'9'));
        let words = [&ENGLISH, &GERMAN].into_iter().filter(|_| !is_refused);
        words.into_iter().find(|words| language.eq_ignore_ascii_case(words.lang.as_bytes()))
    })
}
