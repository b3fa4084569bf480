//! `make config FROM=…`: the filter JSON for a configuration of oauth2-proxy.
//!
//! ```text
//! oauth2-proxy.cfg ─┐                                        ┌─ stdout: the filter JSON
//! .env, env ────────┼─ sources ─ options by name ── carry ──┤  stderr: secrets to set, options that are not
//! arguments ────────┤                                        │          converted, options that are missing
//! alpha.yaml ─ alpha┘                                        └─ exit code: 0 if the filter takes it
//! ```
//!
//! The later source wins, as `--alpha-config` does over `--config`. No secret is printed. If an option that
//! restricts users cannot be converted, that is an error and there is no filter JSON, because the filter
//! would allow more users.

mod alpha;
mod carry;
mod sources;

use std::io::{self, Write};
use std::process::ExitCode;

use oauth2_session_filter::config::Config;
use serde_json::{Map, Value};

/// Options by oauth2-proxy's names in TOML, and remarks on parts without such a name.
#[derive(Default)]
struct Found {
    options: Map<String, Value>,
    remarks: Vec<String>,
    /// Parts that this version of oauth2-proxy does not have. They may restrict users.
    unknown: Vec<String>,
}

fn main() -> io::Result<ExitCode> {
    let mut stderr = io::stderr().lock();
    let mut found = Found::default();
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        writeln!(
            stderr,
            "usage: config oauth2-proxy.cfg | oauth2-proxy.env | arguments.txt | alpha.yaml | env …"
        )?;
        return Ok(ExitCode::from(2));
    }
    for name in &names {
        if let Err(mistake) = sources::read(name, &mut found) {
            writeln!(stderr, "config: {name}: {mistake}")?;
            return Ok(ExitCode::from(2));
        }
    }
    let carried = carry::carry(found);
    if !carried.widens.is_empty() {
        tell(&mut stderr, "not converted:", &carried.remarks)?;
        let title = "no filter JSON, because without these options it could allow more users; remove them from the \
             source, and restrict access by email_domains and allowed_groups:";
        tell(&mut stderr, title, &carried.widens)?;
        return Ok(ExitCode::FAILURE);
    }
    let json = serde_json::to_string_pretty(&carried.json)?;
    writeln!(io::stdout().lock(), "{json}")?;

    let given = carried.environment.iter().map(|(name, _)| name.clone());
    let missing = carried.missing_secrets().map(|variable| format!("{variable}, which no source has"));
    let variables: Vec<_> = given.chain(missing).collect();
    tell(&mut stderr, "secrets to set in the environment of Envoy:", &variables)?;
    tell(&mut stderr, "not converted:", &carried.remarks)?;
    match Config::parse(json.as_bytes(), &carried.complete_environment()) {
        Ok(config) => {
            let conditions = [carried.conditions, config.warnings].concat();
            tell(&mut stderr, "converted; check these:", &conditions)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            let lines: Vec<_> = errors.to_string().lines().map(str::to_owned).collect();
            tell(&mut stderr, "the filter would not start with it yet:", &lines)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn tell(out: &mut impl Write, title: &str, lines: &[String]) -> io::Result<()> {
    if !lines.is_empty() {
        writeln!(out, "config: {title}")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}
