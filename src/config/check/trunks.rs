//! Trunks that match nobody, cannot register, or ask for what cannot be there.

use baton_core::sip::locate::Destination;

use super::super::{Config, Register, Trunk};
use super::Finding;

/// Everything about `[[trunk]]` but its name.
pub(super) fn trunks(config: &Config, found: &mut Vec<Finding>) {
    for trunk in &config.trunks {
        let place = format!("[[trunk]] {}", trunk.name);
        conditions(trunk, &place, found);
        tls_names(config, trunk, &place, found);
        if let Some(login) = &trunk.credentials {
            let both = [&login.username, &login.password];
            account(both, "credentials", &place, found);
        }
        if let Some(register) = &trunk.register {
            let both = [&register.username, &register.password];
            account(both, "register", &place, found);
            registrar(register, &place, found);
        }
    }
    realm(config, found);
}

fn conditions(trunk: &Trunk, place: &str, found: &mut Vec<Finding>) {
    let none = trunk.from.is_empty()
        && trunk.tls_names.is_empty()
        && trunk.credentials.is_none()
        && trunk.register.is_none();
    if none {
        found.push(Finding::error(
            place,
            "has none of `from`, `tls_names`, `credentials` and `register`, so it matches nobody",
            "add the networks its calls come from, or what they prove",
        ));
    }
}

fn tls_names(config: &Config, trunk: &Trunk, place: &str, found: &mut Vec<Finding>) {
    if !trunk.tls_names.is_empty() && config.sip.tls.client_ca.is_none() {
        found.push(Finding::error(
            place,
            "has `tls_names`, and nobody is asked for a certificate",
            "add client_ca to tls in [sip]",
        ));
    }
    let is_name = |name: &str| {
        let name = name.strip_prefix("*.").unwrap_or(name);
        !name.is_empty() && !name.contains(['*', ' ', ':', '/', '@'])
    };
    for name in trunk.tls_names.iter().filter(|name| !is_name(name)) {
        found.push(Finding::error(
            place,
            format!("tls_names: `{name}` is no name of a certificate"),
            "write a host name, or *. and a domain",
        ));
    }
}

/// A name or password that cannot be said, or is none.
fn account(both: [&String; 2], key: &str, place: &str, found: &mut Vec<Finding>) {
    for (text, what) in both.into_iter().zip(["username", "password"]) {
        if text.is_empty() || text.chars().any(char::is_control) {
            found.push(Finding::error(
                place,
                format!("{key}: the {what} is empty or has control characters"),
                format!("write the {what} of the account"),
            ));
        }
    }
}

fn registrar(register: &Register, place: &str, found: &mut Vec<Finding>) {
    if let Err(why) = Destination::parse(&register.registrar) {
        found.push(Finding::error(
            place,
            format!("registrar: {why}"),
            "write registrar = \"sip:pbx.example.com\"",
        ));
    }
    if !(10..=86_400).contains(&register.expires.as_secs()) {
        found.push(Finding::error(
            place,
            "expires: a registration lasts from 10s to 24h",
            "write expires = \"300s\"",
        ));
    }
}

fn realm(config: &Config, found: &mut Vec<Finding>) {
    let realm = config.sip.realm.as_deref();
    if realm.is_some_and(|realm| {
        realm.is_empty() || realm.len() > 128 || realm.chars().any(char::is_control)
    }) {
        found.push(Finding::error(
            "[sip] realm",
            "is empty, longer than 128 octets, or has control characters",
            "write the name your telephones know, or leave it out",
        ));
    }
    let proving = config
        .trunks
        .iter()
        .any(|trunk| trunk.credentials.is_some());
    if config.sip.digest.is_empty() && proving {
        found.push(Finding::error(
            "[sip] digest",
            "is empty, so no caller can prove itself",
            "write digest = [\"SHA-256\", \"MD5\"], or leave it out",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, findings};
    use crate::config::from_str;

    fn errors(text: &str) -> Vec<String> {
        let config = from_str(text, std::path::Path::new(".")).unwrap();
        let found = findings(&config).into_iter();
        found
            .filter(|f| f.severity == Severity::Error)
            .map(|f| f.what)
            .collect()
    }

    const CLIENT_CA: &str = "[sip]\nlisten = [\"tls:0.0.0.0:5061\"]\ntls = { certificate = \"c.pem\", key = \"k.pem\", client_ca = \"ca.pem\" }\n";

    #[test]
    fn each_way_of_being_known_is_enough() {
        for lines in [
            "from = [\"192.0.2.0/24\"]",
            "credentials = { username = \"u\", password = \"p\" }",
            "from = [\"192.0.2.1\"]\ncredentials = { username = \"u\", password = \"p\" }",
            "register = { registrar = \"sip:pbx.example.com\", username = \"bot\", password = \"p\" }",
            "register = { registrar = \"sips:100@[2001:db8::1]:5071\", username = \"bot\", password = \"p\", expires = \"1h\" }",
        ] {
            let found = errors(&format!("[[trunk]]\nname = \"t\"\n{lines}"));
            assert_eq!(found, Vec::<String>::new(), "{lines}");
        }
        let named =
            "[[trunk]]\nname = \"t\"\ntls_names = [\"*.pstn.twilio.com\", \"pbx.example.com\"]";
        assert_eq!(errors(&format!("{CLIENT_CA}{named}")), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_match_or_register_is_found() {
        for (lines, what) in [
            ("", "matches nobody"),
            ("tls_names = [\"pbx.example.com\"]", "nobody is asked"),
            (
                "credentials = { username = \"\", password = \"p\" }",
                "username is empty",
            ),
            (
                "credentials = { username = \"u\", password = \"a\\nb\" }",
                "password is empty or has",
            ),
            (
                "register = { registrar = \"pbx.example.com\", username = \"b\", password = \"p\" }",
                "registrar",
            ),
            (
                "register = { registrar = \"sip:pbx;transport=sctp\", username = \"b\", password = \"p\" }",
                "registrar",
            ),
            (
                "register = { registrar = \"sip:pbx\", username = \"b\", password = \"p\", expires = \"1s\" }",
                "expires",
            ),
        ] {
            let found = errors(&format!("[[trunk]]\nname = \"t\"\n{lines}"));
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(found[0].contains(what), "{lines}: {found:?}");
        }
        for name in ["", "*", "a.*.b", "sip:pbx", "two words"] {
            let text = format!("{CLIENT_CA}[[trunk]]\nname = \"t\"\ntls_names = [\"{name}\"]");
            assert_eq!(errors(&text).len(), 1, "{name}");
        }
        assert_eq!(errors("[sip]\nrealm = \"\"").len(), 1);
        let login = "[[trunk]]\nname = \"t\"\ncredentials = { username = \"u\", password = \"p\" }";
        assert_eq!(errors(&format!("[sip]\ndigest = []\n{login}")).len(), 1);
        assert_eq!(
            errors(&format!("[sip]\ndigest = [\"MD5\"]\n{login}")).len(),
            0
        );
        assert_eq!(errors("[sip]\nrealm = \"voice.example.com\"").len(), 0);
    }

    #[test]
    fn a_misspelt_part_of_an_account_is_an_error_and_no_password_is_printed() {
        let text = "[[trunk]]\nname = \"t\"\ncredentials = { user = \"u\", password = \"s3cret\" }";
        let error = from_str(text, std::path::Path::new(".")).unwrap_err();
        assert!(error.to_string().contains("user"), "{error}");
        let text = "[[trunk]]\nname = \"t\"\ncredentials = { username = \"u\", password = \"s3cret\" }\nregister = { registrar = \"sip:p\", username = \"u\", password = \"s3cret\" }";
        let config = from_str(text, std::path::Path::new(".")).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
