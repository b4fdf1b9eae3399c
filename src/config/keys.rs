//! The catalogue of settings: what exists, what it is by default, what it does.
//!
//! Error messages find the nearest known key here, and `docs/configuration.md` is checked against it.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `sip`, `media`, `trunk`, … ; the tables of arrays by their singular name.
    pub section: &'static str,
    /// Its name; ends with `.*` when it is a table of free names.
    pub name: &'static str,
    /// Its default as written in TOML; empty when there is none.
    pub default: &'static str,
    /// What it does, in one line.
    pub does: &'static str,
}

macro_rules! keys {
    ($($section:literal { $($name:literal = $default:literal : $does:literal,)* })*) => {
        &[$($(Key { section: $section, name: $name, default: $default, does: $does },)*)*]
    };
}

/// Every setting there is.
pub const KEYS: &[Key] = keys! {
    "sip" {
        "listen" = r#"["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]"#: "where SIP is listened for: udp, tcp, and with a certificate tls:0.0.0.0:5061",
        "tls" = "": "PEM files: certificate (with its chain) and key of ours; client_ca: peers must show a certificate of these; ca: peers we connect to may also show one of these",
        "max_connections" = "2000": "TCP and TLS connections at once; past it the oldest silent one is closed",
        "max_connections_per_source" = "1000": "the same for one source address",
        "realm" = "": "the realm of our challenges, which telephones keep their password for; the public address, or baton",
        "digest" = r#"["SHA-256", "MD5"]"#: "hashes that callers may prove themselves with, in the order of our challenges; telephones that read only the first one want [\"MD5\"]",
        "public_address" = r#""auto""#: "the address in Contact, Via and SDP behind NAT or in a container",
        "nameservers" = "[]": "who is asked where names are (RFC 3263): addresses, with a port when it is not 53; none: those of /etc/resolv.conf. /etc/hosts comes first",
        "max_calls" = "1000": "calls at once; above it 503 with Retry-After",
        "max_calls_per_second" = "200": "new calls a second; above it 503 with Retry-After",
        "max_calls_per_source" = "0": "calls at once from one source address; 0 is no limit of its own",
        "max_unacknowledged_per_source" = "100": "answered calls of one source address whose ACK has not come; above it 503; 0 is no limit",
        "drain_timeout" = r#""60s""#: "how long a stop waits for running calls before it hands them over",
    }
    "media" {
        "rtp_ports" = r#""10000-19999""#: "UDP ports for RTP",
        "codecs" = r#"["PCMU", "PCMA"]"#: "what is accepted, best first",
        "reorder_wait_max" = r#""80ms""#: "how long a hole may hold back what came after it",
        "no_rtp_timeout" = r#""30s""#: "silence on the wire after which a call is lost",
        "latch" = r#""nat""#: "nat: another port of the SDP's or the signalling peer's exact IP may be learned; strict: the SDP's address only",
        "recording" = r#""off""#: "on: stereo WAV, caller left, agent right",
        "recording_dir" = r#""baton-data/recordings""#: "where recordings go",
        "playout_max" = r#""120s""#: "agent audio queued ahead of the caller's ear",
    }
    "trunk" {
        "name" = "": "what logs and routes call it",
        "from" = "": "source networks that may call; no [[trunk]] at all: loopback and private networks",
        "tls_names" = "": "names of the client certificate ([sip] tls client_ca), one of which it must bear; *.example.com is one label of any kind",
        "credentials" = "": "username and password that its calls must prove (digest, 401); with `from` both must hold, alone from any source. They also answer its own challenges",
        "register" = "": "registrar (a SIP URI), username, password, and expires (300s): keeps a binding there; calls that come through it belong to this trunk",
    }
    "route" {
        "name" = "": "what logs call it",
        "to" = "": "called user part, glob with * and ?",
        "from" = "": "caller's user part, glob",
        "trunk" = "": "name of the trunk the call came by",
        "header.*" = "": "value of an INVITE header field, glob",
        "agent" = "": "name of the agent that answers; the first [[agent]], or the scripted one",
        "handoff" = "": "name of the handoff; the first [[handoff]]",
        "variables.*" = "": "given to the agent",
    }
    "agent" {
        "name" = "": "what routes call it",
        "kind" = r#""scripted""#: "scripted | echo | websocket | twilio-streams",
        "url" = "": "its socket, ws:// or wss://",
        "api_key" = "": "bearer token for its socket",
        "sample_rate" = "16000": "what it hears and speaks: 8000 | 16000 | 24000 | 48000",
        "answer" = r#""when_ready""#: "when_ready: ring until it is connected | at_once",
        "barge_in" = r#""notify""#: "what the caller's voice does to the agent's: off | notify | pause | clear",
        "vad_hangover" = r#""400ms""#: "silence that ends a caller's turn",
        "connect_timeout" = r#""3s""#: "how long its socket may take to open",
        "on_close" = r#""handoff""#: "it closed without saying what next: handoff | hangup",
        "on_failure" = r#""handoff""#: "it cannot be reached, or broke: handoff | play | hangup",
        "forward_headers" = r#"["X-*", "User-to-User"]"#: "INVITE header fields it is told",
        "max_turns" = "": "the scripted agent hands off by itself after so many turns of the caller",
    }
    "handoff" {
        "name" = "": "what routes call it",
        "target" = "": "where humans are: a sip: or tel: URI",
        "styles" = r#"["refer"]"#: "refer | hangup, tried in this order; hangup only last",
        "history_key_header" = r#""X-Session-History-Key""#: "the header that carries the key",
        "headers.*" = "": "further headers; {reason} in a value is what the agent said",
        "refer_timeout" = r#""10s""#: "REFER to its final answer",
        "notify_timeout" = r#""30s""#: "202 to the first NOTIFY",
        "progress_timeout" = r#""60s""#: "between NOTIFYs",
        "total_timeout" = r#""120s""#: "all of it",
        "on_failure" = r#""resume""#: "resume: the agent is told and talks on | hangup",
        "escape_digit" = r#""""#: "the caller's own way out at any time",
    }
    "http" {
        "listen" = r#""127.0.0.1:8080""#: "where webhooks, API and pages are served",
        "public_url" = "": "how the outside reaches it",
        "api_keys" = "[]": "name:scope:key with scopes read | control | transfer | all; a bare key is all",
        "frame_ancestors" = "[]": "who may frame the human's page",
    }
    "twilio" {
        "auth_token" = "": "verifies X-Twilio-Signature; without it the Twilio paths answer only loopback",
        "studio_webhook_url" = "": "where the refer-handler sends the call",
    }
    "store" {
        "url" = r#""embedded:baton-data""#: "where histories are kept",
        "history_ttl" = r#""24h""#: "how long a key opens its history",
        "commit_timeout" = r#""3s""#: "how long a handoff waits for its history to be durable",
    }
};

/// Whether `section.name` is a setting.
pub fn is_known(section: &str, name: &str) -> bool {
    KEYS.iter()
        .any(|key| key.section == section && key.name.trim_end_matches(".*") == name)
}

/// The sections there are.
pub fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let new = key.section != last;
        last = key.section;
        new.then_some(key.section)
    })
}

/// The known name nearest to `name` in `section`; a key of another section when only there one is alike.
pub fn nearest(section: &str, name: &str) -> Option<String> {
    let here = best(
        KEYS.iter()
            .filter(|key| key.section == section)
            .map(|key| (key, key.name)),
        name,
    );
    let anywhere = || best(KEYS.iter().map(|key| (key, key.name)), name);
    here.or_else(anywhere).map(|key| {
        let name = key.name.trim_end_matches(".*");
        if key.section == section {
            name.to_owned()
        } else {
            format!("{name} in [{}]", key.section)
        }
    })
}

fn best<'a>(candidates: impl Iterator<Item = (&'a Key, &'a str)>, name: &str) -> Option<&'a Key> {
    candidates
        .map(|(key, known)| {
            (
                strsim::jaro_winkler(known.trim_end_matches(".*"), name),
                key,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_here_first_and_elsewhere_second() {
        assert_eq!(nearest("sip", "max_call").as_deref(), Some("max_calls"));
        assert_eq!(
            nearest("sip", "rtp_port").as_deref(),
            Some("rtp_ports in [media]")
        );
        assert_eq!(nearest("sip", "qqq"), None);
    }

    #[test]
    fn every_default_in_the_catalogue_is_the_default_in_the_code() {
        let mut lines = Vec::new();
        for section in sections() {
            let many = matches!(section, "trunk" | "route" | "agent" | "handoff");
            let (open, close) = if many { ("[[", "]]") } else { ("[", "]") };
            lines.push(format!("{open}{section}{close}"));
            if section == "trunk" {
                lines.push("name = \"t\"".to_owned());
            }
            let with_default = |key: &&Key| key.section == section && !key.default.is_empty();
            lines.extend(
                KEYS.iter()
                    .filter(with_default)
                    .map(|key| format!("{} = {}", key.name, key.default)),
            );
        }
        let text = lines.join("\n");
        let written = crate::config::from_str(&text, std::path::Path::new(".")).unwrap();
        let defaults = crate::config::Config::default();
        assert_eq!(written.sip, defaults.sip);
        assert_eq!(written.media, defaults.media);
        assert_eq!(written.agents, [crate::config::Agent::default()]);
        assert_eq!(written.handoffs, [crate::config::Handoff::default()]);
        assert_eq!(written.http, defaults.http);
        assert_eq!(written.store, defaults.store);
    }
}
