//! Log output: levels from `RUST_LOG` (info without it), text for people or JSON for collectors, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// `RUST_LOG` makes no sense.
    #[error("RUST_LOG: {0}; write a level (info, debug) or a list like info,baton::net=debug")]
    Filter(#[from] ParseError),
    /// It is set up already.
    #[error("{0}")]
    Taken(#[from] TryInitError),
}

/// Sends logs to standard error from here on; once per process.
///
/// # Errors
/// [`TraceError`].
pub fn init(format: Format) -> Result<(), TraceError> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let base = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => base
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init()?,
        Format::Json => base.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

/// From here on a panic is a line of the log, with the call whose task it broke: what goes to standard error otherwise
/// is no line that a collector can read.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name(),
            "panic, a fault of this program: {}",
            panic.payload_as_str().unwrap_or("no message")
        );
    }));
}

fn filter(directives: Option<&str>) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_the_default_and_directives_are_followed() {
        assert_eq!(filter(None).unwrap().to_string(), "info");
        let fine = filter(Some("warn,baton::net=debug")).unwrap().to_string();
        assert!(fine.contains("baton::net=debug"), "{fine}");
    }

    #[test]
    fn a_wrong_directive_is_an_error_that_says_what_to_write() {
        let error: TraceError = filter(Some("baton=loud")).unwrap_err().into();
        assert!(
            error.to_string().contains("info,baton::net=debug"),
            "{error}"
        );
    }

    #[test]
    fn logging_is_set_up_once() {
        assert!(init(Format::Json).is_ok());
        assert!(matches!(init(Format::Text), Err(TraceError::Taken(_))));
    }
}
