//! `baton history KEY`: one session history, from the node that runs here or from its store when none does.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use baton_core::history::Session;
use baton_core::vocab::HandoffKey;

use super::ConfigFile;
use crate::app::build;
use crate::config::Config;
use crate::http::{ApiKey, Scope};

/// Arguments of `baton history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session history key: 22 letters and digits
    key: String,
    /// As the JSON of GET /v1/sessions/KEY
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// Prints one history.
///
/// # Errors
/// No such key, or neither node nor store can be asked.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let key: HandoffKey = args.key.parse().context("not a session history key")?;
    let config = args.config.load()?;
    let session = match from_running_node(&config, key).await? {
        Some(session) => session,
        None => from_store(&config, key).await?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&session)?);
    } else {
        print!("{}", super::session_view::render(&session));
    }
    Ok(ExitCode::SUCCESS)
}

/// The store is locked by the node that runs, so that node is asked first; `None` when none does.
async fn from_running_node(config: &Config, key: HandoffKey) -> anyhow::Result<Option<Session>> {
    let url = format!(
        "http://{}/v1/sessions/{key}",
        super::health::reachable(config.http.listen)
    );
    let client = crate::net::tls::http_client(Duration::from_secs(3))?;
    let request = match reading_key(&config.http.api_keys)? {
        Some(key) => client.get(&url).bearer_auth(key.token()),
        None => client.get(&url),
    };
    match request.send().await {
        Ok(response) if response.status().is_success() => Ok(Some(response.json().await?)),
        Ok(response) if response.status() == reqwest::StatusCode::NOT_FOUND => {
            bail!("no history is kept under that key: it never was, or it expired")
        }
        Ok(response) => bail!("{url} answered {}", response.status()),
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking {url}")),
    }
}

/// The first key that may read. Without one the node is asked as anybody would ask it, and says what is missing.
fn reading_key(entries: &[String]) -> anyhow::Result<Option<ApiKey>> {
    for entry in entries {
        let key: ApiKey = entry.parse().context("[http] api_keys")?;
        if key.may(Scope::Read) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

async fn from_store(config: &Config, key: HandoffKey) -> anyhow::Result<Session> {
    let store = build::open_store(config)?;
    let events = store.read(key).await?;
    let events =
        events.context("no history is kept under that key: it never was, or it expired")?;
    Ok(Session::fold(key, &events))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(entries: &[&str]) -> anyhow::Result<Option<String>> {
        let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
        Ok(reading_key(&entries)?.map(|key| key.token().to_owned()))
    }

    #[test]
    fn the_first_key_that_may_read_is_used_and_a_colon_in_it_stays() {
        for (entries, expected) in [
            (
                &["ops:control:c", "desk:read:r", "all:all:a"][..],
                Some("r"),
            ),
            (&["desk:transfer+read:r"], Some("r")),
            (&["desk:read:a:b"], Some("a:b")),
            (&["bare"], Some("bare")),
            (&["ops:control:c"], None),
            (&[], None),
        ] {
            assert_eq!(chosen(entries).unwrap().as_deref(), expected, "{entries:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_key_is_an_error_and_is_not_sent() {
        let error = format!("{:#}", chosen(&["desk:write:secret"]).unwrap_err());
        assert!(error.starts_with("[http] api_keys: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
