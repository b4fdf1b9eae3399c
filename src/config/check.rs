//! What is legal to write but cannot work: each finding with its fix. Surroundings (ports, disks, sockets) are
//! looked at by `baton check` itself.

mod trunks;

use baton_core::handoff::{self, Style};
use baton_core::sip::endpoint::Transport;

use super::{AgentKind, Config, Handoff};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Fine, and worth knowing.
    Ok,
    /// It will run, but not as somebody expects.
    Warning,
    /// It cannot run, or calls will fail.
    Error,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Which setting, such as `[[handoff]] target`.
    pub place: String,
    /// What was found.
    pub what: String,
    /// What to do; empty when all is well.
    pub fix: String,
}

impl Finding {
    /// All is well.
    pub fn ok(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            place: place.into(),
            what: what.into(),
            fix: String::new(),
        }
    }

    /// Something to think about.
    pub fn warning(
        place: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            place: place.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Something to mend.
    pub fn error(
        place: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            place: place.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Everything about the text itself.
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    lists(config, &mut found);
    limits(config, &mut found);
    tls(config, &mut found);
    names(config, &mut found);
    trunks::trunks(config, &mut found);
    routes(config, &mut found);
    agents(config, &mut found);
    handoffs(config, &mut found);
    twilio(config, &mut found);
    found
}

/// Lists that nothing works without.
fn lists(config: &Config, found: &mut Vec<Finding>) {
    if config.sip.listen.is_empty() {
        found.push(Finding::error(
            "[sip] listen",
            "is empty, so no call can come in",
            "write listen = [\"udp:0.0.0.0:5060\", \"tcp:0.0.0.0:5060\"], or leave it out",
        ));
    }
    if config.media.codecs.is_empty() {
        found.push(Finding::error(
            "[media] codecs",
            "is empty, so no call can have a voice",
            "write codecs = [\"PCMU\", \"PCMA\"], or leave it out",
        ));
    }
}

/// Numbers that turn calls away.
fn limits(config: &Config, found: &mut Vec<Finding>) {
    let sip = &config.sip;
    for (key, value) in [
        ("max_calls", sip.max_calls),
        ("max_calls_per_second", sip.max_calls_per_second),
    ] {
        if value == 0 {
            found.push(Finding::warning(
                format!("[sip] {key}"),
                "is 0, so every call is answered 503",
                "write how many calls this machine carries, or leave it out",
            ));
        }
    }
    if sip.max_unacknowledged_per_source == 0 {
        found.push(Finding::warning(
            "[sip] max_unacknowledged_per_source",
            "is 0, so one source that never acknowledges our answers may take every line",
            "write a number above the calls that one trunk has between answer and ACK, such as 100",
        ));
    }
}

/// Certificates: what must be there together. The files themselves are looked at by `baton check` and the start.
fn tls(config: &Config, found: &mut Vec<Finding>) {
    let tls = &config.sip.tls;
    let listens = config
        .sip
        .listen
        .iter()
        .any(|listen| listen.0.transport == Transport::Tls);
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => found.push(Finding::error(
            "[sip] tls",
            "has a certificate and no key",
            "add key = \"key.pem\"",
        )),
        (None, Some(_)) => found.push(Finding::error(
            "[sip] tls",
            "has a key and no certificate",
            "add certificate = \"cert.pem\"",
        )),
        (None, None) if listens => found.push(Finding::error(
            "[sip] listen",
            "has a tls: address, and there is no certificate",
            "add tls = { certificate = \"cert.pem\", key = \"key.pem\" } to [sip]",
        )),
        (None, None) if tls.client_ca.is_some() => found.push(Finding::error(
            "[sip] tls",
            "has a client_ca and no certificate of ours",
            "add certificate and key, and a tls: address to listen",
        )),
        (Some(_), Some(_)) if !listens => found.push(Finding::warning(
            "[sip] tls",
            "there is a certificate, and no tls: address in listen",
            "add \"tls:0.0.0.0:5061\" to listen",
        )),
        _ => {}
    }
}

fn names(config: &Config, found: &mut Vec<Finding>) {
    let lists: [(&str, Vec<&str>); 3] = [
        (
            "trunk",
            config.trunks.iter().map(|t| t.name.as_str()).collect(),
        ),
        (
            "agent",
            config.agents.iter().map(|a| a.name.as_str()).collect(),
        ),
        (
            "handoff",
            config.handoffs.iter().map(|h| h.name.as_str()).collect(),
        ),
    ];
    for (section, mut names) in lists {
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            let what = format!("two are named `{}`; only the first can be reached", pair[0]);
            found.push(Finding::error(
                format!("[[{section}]] name"),
                what,
                "give each its own name",
            ));
        }
    }
}

fn routes(config: &Config, found: &mut Vec<Finding>) {
    for route in &config.routes {
        let place = format!("[[route]] {}", route.name);
        let missing = |kind: &str, name: &str| {
            Finding::error(
                &place,
                format!("there is no [[{kind}]] named `{name}`"),
                "correct the name, or add it",
            )
        };
        if let Some(name) = route
            .agent
            .as_ref()
            .filter(|n| !config.agents.iter().any(|a| a.name == **n))
        {
            found.push(missing("agent", name));
        }
        if let Some(name) = route
            .handoff
            .as_ref()
            .filter(|n| !config.handoffs.iter().any(|h| h.name == **n))
        {
            found.push(missing("handoff", name));
        }
        if let Some(name) = route
            .trunk
            .as_ref()
            .filter(|n| !config.trunks.iter().any(|t| t.name == **n))
        {
            found.push(missing("trunk", name));
        }
    }
}

fn agents(config: &Config, found: &mut Vec<Finding>) {
    for agent in &config.agents {
        let place = format!("[[agent]] {}", agent.name);
        let needs_url = matches!(agent.kind, AgentKind::Websocket | AgentKind::TwilioStreams);
        match &agent.url {
            None if needs_url => {
                found.push(Finding::error(
                    &place,
                    "has no `url`",
                    "add url = \"wss://...\"",
                ));
            }
            Some(url) if !url.starts_with("ws://") && !url.starts_with("wss://") => {
                found.push(Finding::error(
                    &place,
                    format!("`{url}` is no WebSocket"),
                    "write ws:// or wss://",
                ));
            }
            _ => {}
        }
        if baton_core::vocab::SampleRate::from_hz(agent.sample_rate).is_none() {
            let what = format!("sample_rate {} is not spoken", agent.sample_rate);
            found.push(Finding::error(
                &place,
                what,
                "write 8000, 16000, 24000 or 48000",
            ));
        }
    }
}

fn handoffs(config: &Config, found: &mut Vec<Finding>) {
    if config
        .handoffs
        .iter()
        .all(|handoff| handoff.target.is_none())
    {
        found.push(Finding::warning(
            "[[handoff]] target",
            "no handoff has a target: a caller who wants a human is told that nobody is there",
            "add [[handoff]] with target = \"sip:queue@...\"",
        ));
    }
    for handoff in &config.handoffs {
        styles(handoff, found);
        escape_digit(handoff, found);
        if let Err(error) = sayable(handoff) {
            found.push(Finding::error(
                handoff.place(),
                error.to_string(),
                "correct the target or the headers",
            ));
        }
    }
}

fn styles(handoff: &Handoff, found: &mut Vec<Finding>) {
    let fix = "write styles = [\"refer\"], [\"hangup\"] or [\"refer\", \"hangup\"]";
    if handoff.styles.is_empty() {
        found.push(Finding::error(handoff.place(), "`styles` is empty", fix));
    }
    for (at, word) in handoff.styles.iter().enumerate() {
        match word.parse::<Style>() {
            Err(error) => found.push(Finding::error(handoff.place(), error.to_string(), fix)),
            Ok(Style::Hangup) if at + 1 < handoff.styles.len() => found.push(Finding::error(
                handoff.place(),
                "`styles` go on after hangup, which ends the call",
                "write hangup last",
            )),
            Ok(_) => {}
        }
    }
}

fn escape_digit(handoff: &Handoff, found: &mut Vec<Finding>) {
    let text = &handoff.escape_digit;
    let one_key = text.len() == 1 && text.bytes().all(|b| b"0123456789*#ABCD".contains(&b));
    if !text.is_empty() && !one_key {
        found.push(Finding::error(
            handoff.place(),
            format!("escape_digit {text:?} is not one key of a telephone"),
            "write one of 0-9, *, #, A-D, or leave it out",
        ));
    }
}

/// Whether its target and headers can be put on the wire. One without a target gets its own from each request; its
/// headers are looked at all the same, and so is a name whose value is not known before there is a reason.
fn sayable(handoff: &Handoff) -> Result<(), handoff::ContextError> {
    let mut plan = handoff.plan();
    plan.target
        .get_or_insert_with(|| "sip:any@example.com".into());
    for name in handoff.headers.keys() {
        handoff::check_header(name, "")?;
    }
    plan.check()
}

impl Handoff {
    /// How findings name it.
    pub(crate) fn place(&self) -> String {
        format!("[[handoff]] {}", self.name)
    }
}

fn twilio(config: &Config, found: &mut Vec<Finding>) {
    let twilio = &config.twilio;
    if twilio.studio_webhook_url.is_some() && twilio.auth_token.is_none() {
        found.push(Finding::warning(
            "[twilio] auth_token",
            "not set: /twilio/... answers only this machine, so Twilio gets 403",
            "set auth_token = \"${TWILIO_AUTH_TOKEN}\"",
        ));
    }
    if twilio.studio_webhook_url.is_some() && config.http.public_url.is_none() {
        found.push(Finding::warning(
            "[http] public_url",
            "not set: signatures are checked against the URL that Twilio was given",
            "set public_url to the address Twilio uses",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_str;

    fn errors(text: &str) -> Vec<String> {
        let config = from_str(text, std::path::Path::new(".")).unwrap();
        let found = findings(&config).into_iter();
        found
            .filter(|f| f.severity == Severity::Error)
            .map(|f| format!("{}: {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn the_defaults_have_no_error() {
        assert_eq!(errors(""), Vec::<String>::new());
    }

    #[test]
    fn limits_that_turn_everybody_away_or_nobody_are_warned_of() {
        let warned = |lines: &str| {
            let config = from_str(lines, std::path::Path::new(".")).unwrap();
            let found = findings(&config).into_iter();
            let warnings = found.filter(|f| f.severity == Severity::Warning);
            warnings.map(|f| f.place).collect::<Vec<_>>()
        };
        for key in [
            "max_calls",
            "max_calls_per_second",
            "max_unacknowledged_per_source",
        ] {
            let place = format!("[sip] {key}");
            assert!(
                warned(&format!("[sip]\n{key} = 0")).contains(&place),
                "{key}"
            );
            assert!(
                !warned(&format!("[sip]\n{key} = 7")).contains(&place),
                "{key}"
            );
        }
    }

    #[test]
    fn what_cannot_work_is_found() {
        assert_eq!(
            errors("[[agent]]\nname=\"a\"\nkind=\"websocket\""),
            ["[[agent]] a: has no `url`"]
        );
        assert_eq!(
            errors("[[route]]\nname=\"r\"\nagent=\"x\""),
            ["[[route]] r: there is no [[agent]] named `x`"]
        );
        assert_eq!(
            errors("[[agent]]\nname=\"a\"\n[[agent]]\nname=\"a\"").len(),
            1
        );
        assert_eq!(errors("[[agent]]\nsample_rate = 11025").len(), 1);
        assert_eq!(errors("[[trunk]]\nname=\"t\"").len(), 1);
    }
    #[test]
    fn a_handoff_that_cannot_work_is_found_and_a_good_one_is_not() {
        let handoff = |lines: &str| errors(&format!("[[handoff]]\nname=\"h\"\n{lines}"));
        for good in [
            "",
            "styles = [\"hangup\"]",
            "styles = [\"refer\", \"hangup\"]",
            "target = \"tel:+15551230000\"",
            "headers = { X-Reason = \"{reason}\" }",
            "escape_digit = \"\"",
            "escape_digit = \"0\"",
            "escape_digit = \"#\"",
        ] {
            assert_eq!(handoff(good), Vec::<String>::new(), "{good}");
        }
        for (bad, what) in [
            ("styles = []", "is empty"),
            ("styles = [\"attended\"]", "attended"),
            ("styles = [\"refer\", \"bridge\"]", "bridge"),
            ("styles = [\"hangup\", \"refer\"]", "after hangup"),
            ("target = \"mailto:a@b\"", "sip:, sips: or tel:"),
            ("target = \"sip:\"", "target"),
            ("headers = { Contact = \"x\" }", "Contact"),
            ("headers = { Via = \"{reason}\" }", "Via"),
            ("headers = { X-A = \"a\\r\\nb\" }", "control character"),
            ("history_key_header = \"not a token\"", "no header name"),
            ("escape_digit = \"00\"", "escape_digit"),
            ("escape_digit = \"x\"", "escape_digit"),
            ("escape_digit = \"٣\"", "escape_digit"),
        ] {
            let found = handoff(bad);
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(
                found[0].starts_with("[[handoff]] h: ") && found[0].contains(what),
                "{bad}: {found:?}"
            );
        }
    }

    #[test]
    fn half_a_certificate_and_a_tls_address_without_one_are_found() {
        let tls = "listen = [\"tls:0.0.0.0:5061\"]";
        for (text, what) in [
            (tls, "no certificate"),
            ("tls = { certificate = \"c.pem\" }", "no key"),
            ("tls = { key = \"k.pem\" }", "no certificate"),
            ("tls = { client_ca = \"ca.pem\" }", "no certificate"),
        ] {
            let found = errors(&format!("[sip]\n{text}"));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(what), "{text}: {found:?}");
        }
        let whole = format!("[sip]\n{tls}\ntls = {{ certificate = \"c.pem\", key = \"k.pem\" }}");
        assert_eq!(errors(&whole), Vec::<String>::new());
    }

    #[test]
    fn nothing_to_listen_on_and_nothing_to_speak_are_found() {
        assert_eq!(
            errors("[sip]\nlisten = []"),
            ["[sip] listen: is empty, so no call can come in"]
        );
        assert_eq!(
            errors("[media]\ncodecs = []"),
            ["[media] codecs: is empty, so no call can have a voice"]
        );
    }
}
