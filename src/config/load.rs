//! From text to [`Config`]: syntax, unknown keys, `${..}`, shapes. Every error says where and what to do.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use super::expand::{ExpandError, expand};
use super::keys;

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not there, or may not be read.
    #[error("{}: {why}. Give another file with -c, or none at all for the defaults", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The operating system's words.
        why: std::io::Error,
    },
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(Box<toml::de::Error>),
    /// A key or section that does not exist.
    #[error("line {line}: unknown {what} `{name}`{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// Where.
        line: usize,
        /// `key in [sip]`, or `section`.
        what: String,
        /// As written.
        name: String,
        /// The nearest one that exists.
        nearest: Option<String>,
    },
    /// A `${..}` could not be filled in.
    #[error("{key}: {why}")]
    Expand {
        /// Which key.
        key: String,
        /// What is missing.
        why: ExpandError,
    },
    /// A value of the wrong kind.
    #[error("{0}")]
    Shape(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// Reads a file.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|why| LoadError::Unreadable {
        path: path.into(),
        why,
    })?;
    from_str(&text, path.parent().unwrap_or(Path::new(".")))
}

/// Reads a text; `directory` is where relative `${file:..}` start.
///
/// # Errors
/// See [`LoadError`].
pub fn from_str(text: &str, directory: &Path) -> Result<Config, LoadError> {
    let mut table: Table = text
        .parse()
        .map_err(|error| LoadError::Syntax(Box::new(error)))?;
    refuse_unknown(&table, text)?;
    let environment = |name: &str| std::env::var(name).ok();
    for (section, value) in &mut table {
        fill_in(section, value, &environment, directory)?;
    }
    let mut config = Config::default();
    read_sections(table, &mut config)?;
    Ok(config)
}

/// One section at a time, so that an error can name it.
fn read_sections(table: Table, config: &mut Config) -> Result<(), LoadError> {
    for (section, value) in table {
        match section.as_str() {
            "sip" => config.sip = read(&section, value)?,
            "media" => config.media = read(&section, value)?,
            "http" => config.http = read(&section, value)?,
            "twilio" => config.twilio = read(&section, value)?,
            "store" => config.store = read(&section, value)?,
            "trunk" => config.trunks = read_all(&section, value)?,
            "route" => config.routes = read_all(&section, value)?,
            "agent" => config.agents = read_all(&section, value)?,
            "handoff" => config.handoffs = read_all(&section, value)?,
            // `refuse_unknown` has named every other section already.
            _ => {}
        }
    }
    Ok(())
}

fn read<T: for<'de> Deserialize<'de>>(section: &str, value: Value) -> Result<T, LoadError> {
    if !value.is_table() {
        return Err(LoadError::Shape(format!(
            "[{section}] must be a section with keys of its own"
        )));
    }
    value
        .try_into()
        .map_err(|error: toml::de::Error| shape(&format!("[{section}]"), &error))
}

fn read_all<T: for<'de> Deserialize<'de>>(
    section: &str,
    value: Value,
) -> Result<Vec<T>, LoadError> {
    let Value::Array(entries) = value else {
        return Err(LoadError::Shape(format!(
            "[{section}] may occur several times: write [[{section}]] with double brackets"
        )));
    };
    let numbered = entries.into_iter().enumerate();
    numbered
        .map(|(index, entry)| {
            let place = format!("[[{section}]] number {}", index + 1);
            entry
                .try_into()
                .map_err(|error: toml::de::Error| shape(&place, &error))
        })
        .collect()
}

fn shape(place: &str, error: &toml::de::Error) -> LoadError {
    let text = error.to_string();
    LoadError::Shape(format!("{place}: {}", text.trim().replace('\n', " ")))
}

fn refuse_unknown(table: &Table, text: &str) -> Result<(), LoadError> {
    for (section, value) in table {
        if !keys::sections().any(|known| known == section) {
            let nearest = keys::sections()
                .max_by(|a, b| {
                    strsim::jaro_winkler(a, section).total_cmp(&strsim::jaro_winkler(b, section))
                })
                .map(str::to_owned);
            let line = line_of(text, section);
            return Err(LoadError::Unknown {
                line,
                what: "section".into(),
                name: section.clone(),
                nearest,
            });
        }
        let entries = match value {
            Value::Array(entries) => entries.iter().filter_map(Value::as_table).collect(),
            Value::Table(entry) => vec![entry],
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => {
                vec![]
            }
        };
        for name in entries.into_iter().flat_map(Table::keys) {
            if !keys::is_known(section, name) {
                return Err(LoadError::Unknown {
                    line: line_of(text, name),
                    what: format!("key in [{section}]"),
                    name: name.clone(),
                    nearest: keys::nearest(section, name),
                });
            }
        }
    }
    Ok(())
}

/// The line on which `name` is first written as a key or a section; 1 when it is written in some other way.
fn line_of(text: &str, name: &str) -> usize {
    let written_here = |line: &str| {
        let line = line.trim_start().trim_start_matches(['[', '"', '\'']);
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.', '"', '\'']))
    };
    text.lines()
        .position(written_here)
        .map_or(1, |index| index + 1)
}

fn fill_in(
    place: &str,
    value: &mut Value,
    environment: &dyn Fn(&str) -> Option<String>,
    directory: &Path,
) -> Result<(), LoadError> {
    match value {
        Value::String(text) => {
            *text = expand(text, environment, directory).map_err(|why| LoadError::Expand {
                key: place.into(),
                why,
            })?;
            Ok(())
        }
        Value::Array(entries) => entries
            .iter_mut()
            .try_for_each(|entry| fill_in(place, entry, environment, directory)),
        Value::Table(entries) => entries.iter_mut().try_for_each(|(name, entry)| {
            fill_in(&format!("{place}.{name}"), entry, environment, directory)
        }),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{AgentKind, PublicAddress};

    fn read(text: &str) -> Result<Config, String> {
        from_str(text, Path::new("/nonexistent")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn what_is_written_is_read() {
        let config = read(
            r#"
            [sip]
            listen = ["udp:127.0.0.1:0", "tcp:[::1]:5080", "tls:0.0.0.0:5061"]
            tls = { certificate = "cert.pem", key = "key.pem", client_ca = "ca.pem" }
            public_address = "192.0.2.7"
            [media]
            no_rtp_timeout = "5s"
            [[trunk]]
            name = "carrier"
            from = ["203.0.113.0/24", "198.51.100.7"]
            [[agent]]
            name = "bot"
            kind = "twilio-streams"
            url = "ws://127.0.0.1:9000/"
            [[route]]
            name = "all"
            header."X-Tenant" = "a*"
            variables = { language = "en-GB" }
            "#,
        )
        .unwrap();
        let listen: Vec<String> = (config.sip.listen.iter())
            .map(|listen| listen.0.to_string())
            .collect();
        assert_eq!(
            listen,
            ["udp:127.0.0.1:0", "tcp:[::1]:5080", "tls:0.0.0.0:5061"]
        );
        assert_eq!(config.sip.tls.client_ca, Some("ca.pem".into()));
        assert_eq!(
            config.sip.public_address,
            PublicAddress::Given([192, 0, 2, 7].into())
        );
        assert_eq!(config.media.no_rtp_timeout, Duration::from_secs(5));
        assert_eq!(config.trunks[0].from[1].to_string(), "198.51.100.7/32");
        assert_eq!(config.agents[0].kind, AgentKind::TwilioStreams);
        assert_eq!(config.routes[0].header["X-Tenant"], "a*");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_line_and_nearest() {
        let error = read("[sip]\nmax_calls = 3\nmax_cals = 4\n").unwrap_err();
        assert_eq!(
            error,
            "line 3: unknown key in [sip] `max_cals`; did you mean `max_calls`?"
        );
        let error = read("[mediaa]\n").unwrap_err();
        assert_eq!(
            error,
            "line 1: unknown section `mediaa`; did you mean `media`?"
        );
        let error = read("[sip]\nrtp_ports = \"1-2\"\n").unwrap_err();
        assert!(
            error.ends_with("did you mean `rtp_ports in [media]`?"),
            "{error}"
        );
    }

    #[test]
    fn wrong_values_name_their_place_and_say_what_is_right() {
        for (text, expected) in [
            ("[sip]\nlisten = [\"5060\"]", "such as udp:0.0.0.0:5060"),
            (
                "[sip]\nlisten = [\"sctp:0.0.0.0:5060\"]",
                "`sctp` is no transport",
            ),
            (
                "[sip]\nnameservers = [\"dns.example.com\"]",
                "`dns.example.com` is no name server's address",
            ),
            ("[sip]\nmax_calls = -1", "[sip]"),
            ("[sip]\nmax_calls = \"many\"", "max_calls"),
            ("[media]\nrtp_ports = \"9-1\"", "at least 1024"),
            ("[media]\nno_rtp_timeout = 5", "no_rtp_timeout"),
            (
                "[media]\nno_rtp_timeout = \"5 parsecs\"",
                "is not a duration",
            ),
            ("[agent]\nname = \"x\"", "double brackets"),
            ("[[agent]]\nkind = \"magic\"", "magic"),
            (
                "[[trunk]]\nname = \"t\"\nfrom = [\"here\"]",
                "`here` is not a network",
            ),
            ("[store]\nurl = \"mysql://x\"", "embedded:DIRECTORY"),
            ("sip = 3", "[sip] must be a section"),
            ("[sip", "not TOML"),
            (
                "[http]\npublic_url = \"${BATON_TEST_UNSET}\"",
                "BATON_TEST_UNSET is not set",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nonexistent/baton.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/baton.toml"), "{error}");
    }
}
