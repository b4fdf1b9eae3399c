//! `baton check`: the configuration and its surroundings, every finding with its fix.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use console::style;

use super::ConfigFile;
use crate::app::build;
use crate::config::check::{Finding, Severity, findings};
use crate::config::{Config, PublicAddress, Recording, StoreUrl};
use crate::net::{listen, ports};

/// Arguments of `baton check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// How long an agent's host may take to be reached.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints every finding; exit 1 when one of them is an error.
///
/// # Errors
/// The configuration cannot be read at all.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let mut found = vec![Finding::ok("configuration", args.config.name())];
    found.extend(findings(&config));
    found.extend(listeners(&config));
    found.extend(super::check_tls::findings(&config));
    found.extend(media(&config));
    found.push(super::check_dns::finding(&config).await);
    found.push(store(&config));
    found.extend(agents(&config).await);
    let good = handoffs(&config, &found);
    found.extend(good);
    print(&found);
    let failed = found
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(found: &[Finding]) {
    let width = found
        .iter()
        .map(|finding| finding.place.len())
        .max()
        .unwrap_or(0);
    for Finding {
        severity,
        place,
        what,
        fix,
    } in found
    {
        let sign = match severity {
            Severity::Ok => style("ok     ").green(),
            Severity::Warning => style("warning").yellow(),
            Severity::Error => style("error  ").red(),
        };
        println!("{sign}  {place:width$}  {what}");
        if !fix.is_empty() {
            println!("{:9}{:width$}  {} {fix}", "", "", style("→").dim());
        }
    }
    let count = |severity| {
        found
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    println!("\n{errors} errors, {warnings} warnings");
}

/// Ports that are taken: by this node, when it runs already, or by somebody else.
fn listeners(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for wanted in &config.sip.listen {
        let place = format!("[sip] listen {}", wanted.0);
        found.push(match listen::listen(wanted.0, "[sip] listen") {
            Ok(_) => Finding::ok(place, "free"),
            Err(error) => taken(place, &error.fault.to_string()),
        });
    }
    let http = config.http.listen;
    let place = format!("[http] listen {http}");
    found.push(match std::net::TcpListener::bind(http) {
        Ok(_) => Finding::ok(place, "free"),
        Err(error) => taken(place, &error.to_string()),
    });
    if !http.ip().is_loopback() && config.http.api_keys.is_empty() {
        found.push(Finding::warning(
            "[http] api_keys",
            "none: clients on other machines get 401 from the API",
            "add keys, such as api_keys = [\"ops:all:${BATON_API_KEY}\"]",
        ));
    }
    found
}

fn taken(place: String, why: &str) -> Finding {
    Finding::warning(
        place,
        why,
        "fine when this node runs already; else stop the other program or choose another port",
    )
}

fn media(config: &Config) -> Vec<Finding> {
    let mut found = vec![public_address(config)];
    let range = config.media.rtp_ports;
    let room =
        ports::PortRange::new(range.first, range.last).map_or(u64::MAX, ports::PortRange::calls);
    if room < u64::from(config.sip.max_calls) {
        found.push(Finding::warning(
            "[media] rtp_ports",
            format!(
                "room for {room} calls, and [sip] max_calls is {}",
                config.sip.max_calls
            ),
            "widen the range, two ports per call, or lower max_calls",
        ));
    }
    if config.media.recording == Recording::On {
        let dir = &config.media.recording_dir;
        let place = format!("[media] recording_dir {}", dir.display());
        found.push(match crate::bridge::recorder::Recorder::start(dir) {
            Ok(_) => Finding::ok(place, "writable"),
            Err(error) => Finding::error(
                place,
                error.to_string(),
                "make it writable, or set recording = \"off\"",
            ),
        });
    }
    found
}

fn public_address(config: &Config) -> Finding {
    let place = "[sip] public_address";
    match config.sip.public_address {
        PublicAddress::Given(address) => Finding::ok(place, address.to_string()),
        PublicAddress::Auto => {
            let ours = crate::net::interfaces::addresses();
            let list = ours
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let public = ours
                .iter()
                .any(|address| !crate::net::interfaces::is_private(*address));
            if public {
                Finding::ok(
                    place,
                    format!("auto: each peer is told the address that leads to it, of {list}"),
                )
            } else {
                Finding::warning(
                    place,
                    format!("auto, and this machine has only private addresses ({list})"),
                    "behind NAT set public_address to the address the trunk reaches; on a private network all is well",
                )
            }
        }
    }
}

fn store(config: &Config) -> Finding {
    let StoreUrl::Embedded(dir) = &config.store.url;
    let place = format!("[store] embedded:{}", dir.display());
    match build::open_store(config) {
        Ok(_) => Finding::ok(place, "can be opened and written"),
        Err(error) => Finding::error(
            place,
            error.to_string(),
            "fine when this node runs already; else see the message",
        ),
    }
}

/// Whether somebody listens where each agent should be.
async fn agents(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for agent in &config.agents {
        let Some(url) = &agent.url else { continue };
        let place = format!("[[agent]] {} {url}", agent.name);
        let host = url
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', '?']).next())
            .unwrap_or_default();
        let port = if url.starts_with("wss:") { 443 } else { 80 };
        let address = if has_port(host) {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let connect = tokio::net::TcpStream::connect(&address);
        found.push(match tokio::time::timeout(PATIENCE, connect).await {
            Ok(Ok(_)) => Finding::ok(place, "somebody listens there"),
            Ok(Err(error)) => Finding::error(
                place,
                error.to_string(),
                "start the agent, or correct its url",
            ),
            Err(_) => Finding::error(
                place,
                "does not answer within 3 s",
                "start the agent, or correct its url",
            ),
        });
    }
    found
}

fn has_port(host: &str) -> bool {
    host.parse::<SocketAddr>().is_ok() || (!host.ends_with(']') && host.rsplit_once(':').is_some())
}

/// The handoffs with a target and no error: where they lead.
fn handoffs(config: &Config, found: &[Finding]) -> Vec<Finding> {
    let mut good = Vec::new();
    for handoff in &config.handoffs {
        let Some(target) = &handoff.target else {
            continue;
        };
        let place = handoff.place();
        let refused = found
            .iter()
            .any(|finding| finding.severity == Severity::Error && finding.place == place);
        if !refused {
            let what = format!("{target} ({})", handoff.styles.join(", "));
            good.push(Finding::ok(place, what));
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        for (host, expected) in [
            ("a.example", false),
            ("a.example:9", true),
            ("[::1]", false),
            ("[::1]:9", true),
        ] {
            assert_eq!(has_port(host), expected, "{host}");
        }
    }
    #[test]
    fn only_a_handoff_without_an_error_is_said_to_be_good() {
        let text = r#"
            [[handoff]]
            name = "good"
            target = "sip:queue@example.com"
            [[handoff]]
            name = "bad"
            target = "mailto:queue@example.com"
            [[handoff]]
            name = "no target"
        "#;
        let config = crate::config::from_str(text, std::path::Path::new(".")).unwrap();
        let good = handoffs(&config, &findings(&config));
        let expected = Finding::ok("[[handoff]] good", "sip:queue@example.com (refer)");
        assert_eq!(good, [expected]);
    }
}
