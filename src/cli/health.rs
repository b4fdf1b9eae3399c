//! `baton health`: asks this node's `/readyz`.

use std::process::ExitCode;
use std::time::Duration;

use super::ConfigFile;

/// Arguments of `baton health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// Longer than this is not healthy.
const PATIENCE: Duration = Duration::from_secs(3);

/// Exit 0 when the node takes calls, 1 when it does not or cannot be asked.
///
/// # Errors
/// The configuration cannot be read.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let listen = args.config.load()?.http.listen;
    let url = format!("http://{}/readyz", reachable(listen));
    let client = crate::net::tls::http_client(PATIENCE)?;
    match client.get(&url).send().await {
        Ok(response) if response.status().is_success() => {
            println!("takes calls");
            Ok(ExitCode::SUCCESS)
        }
        Ok(response) => {
            println!("does not take calls: {url} answered {}", response.status());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            println!(
                "does not answer at {url}: {error}. Is it running, and is [http] listen right?"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A listener on every address is asked on loopback.
pub(super) fn reachable(mut listen: std::net::SocketAddr) -> std::net::SocketAddr {
    if listen.ip().is_unspecified() {
        let loopback = match listen.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        listen.set_ip(loopback);
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()).to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(
            reachable("[::]:80".parse().unwrap()).to_string(),
            "[::1]:80"
        );
        assert_eq!(
            reachable("192.0.2.1:80".parse().unwrap()).to_string(),
            "192.0.2.1:80"
        );
    }
}
