//! `baton check`: whether somebody answers questions about names.

use std::time::Duration;

use baton_core::vocab::Entropy;

use crate::config::Config;
use crate::config::check::Finding;
use crate::net::dns::Dns;

/// How long the name servers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for a name that every name server can say something about, be it that there is none (RFC 2606 §3).
pub(super) async fn finding(config: &Config) -> Finding {
    let servers = config.nameservers();
    let list: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let place = match list.as_slice() {
        [] => "[sip] nameservers (/etc/resolv.conf)".to_owned(),
        list => format!("[sip] nameservers {}", list.join(", ")),
    };
    let dns = Dns::new(&servers, Entropy::from_number(0));
    match tokio::time::timeout(PATIENCE, dns.is_answered("example.com")).await {
        Ok(true) => Finding::ok(place, "questions are answered"),
        Ok(false) | Err(_) => Finding::warning(
            place,
            "no name server answers",
            "fine when every trunk, handoff and Contact has an address; else correct nameservers",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::Severity;

    #[tokio::test]
    async fn name_servers_that_are_not_there_are_found() {
        let text = "[sip]\nnameservers = [\"127.0.0.1:1\"]";
        let config = crate::config::from_str(text, std::path::Path::new(".")).unwrap();
        let found = finding(&config).await;
        assert_eq!(found.severity, Severity::Warning);
        assert_eq!(found.place, "[sip] nameservers 127.0.0.1:1");
    }
}
