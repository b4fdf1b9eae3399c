//! What the HTTP side is told by its operator.

use std::path::PathBuf;

use super::auth::ApiKey;

/// Settings of the HTTP side. The defaults are a bridge tried out on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How the world reaches this server: scheme, host, port and path prefix. `None`: as each request names it.
    pub public_url: Option<String>,
    /// Who may use the API. None: only clients on this machine.
    pub api_keys: Vec<ApiKey>,
    /// Origins that may frame the human's page, as in CSP `frame-ancestors`.
    pub frame_ancestors: Vec<String>,
    /// Where recordings are.
    pub recording_dir: PathBuf,
    /// Where Twilio's `<Sip>` should send calls: `host[:port][;uri-parameters]`. `None`: the host of `public_url`.
    pub sip_address: Option<String>,
    /// Names of headers that may carry a session history key, the configured ones first.
    pub history_key_headers: Vec<String>,
    /// Twilio's part.
    pub twilio: Twilio,
}

/// `[twilio]`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Twilio {
    /// Verifies webhooks. Without it they answer only clients on this machine.
    pub auth_token: Option<String>,
    /// Where a referred call goes on: the Studio flow's webhook.
    pub studio_webhook_url: Option<String>,
}

impl std::fmt::Debug for Twilio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twilio")
            .field("auth_token", &self.auth_token.as_ref().map(|_| "…"))
            .field("studio_webhook_url", &self.studio_webhook_url)
            .finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: None,
            api_keys: Vec::new(),
            frame_ancestors: Vec::new(),
            recording_dir: PathBuf::from("baton-data/recordings"),
            sip_address: None,
            history_key_headers: vec!["X-Session-History-Key".into()],
            twilio: Twilio::default(),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not an address of a web server.
    #[error("{setting} is not an http:// or https:// URL: {value:?}")]
    NotAUrl {
        /// Which setting.
        setting: &'static str,
        /// What it holds.
        value: String,
    },
    /// Would break out of the header it is written into.
    #[error("[http] frame_ancestors: {0:?} is not an origin such as \"https://flex.twilio.com\"")]
    NotAnOrigin(String),
    /// Would break out of the SIP URI it is written into.
    #[error("the public SIP address is not host[:port][;parameters]: {0:?}")]
    NotASipAddress(String),
    /// An empty token would accept what anybody can compute.
    #[error(
        "[twilio] auth_token is empty; leave it out, or set the environment variable it is read from"
    )]
    EmptyToken,
}

impl Config {
    /// Whether every setting can be used.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_url("[http] public_url", self.public_url.as_deref())?;
        check_url(
            "[twilio] studio_webhook_url",
            self.twilio.studio_webhook_url.as_deref(),
        )?;
        if self.twilio.auth_token.as_deref() == Some("") {
            return Err(ConfigError::EmptyToken);
        }
        if let Some(origin) = self.frame_ancestors.iter().find(|o| !is_source(o)) {
            return Err(ConfigError::NotAnOrigin(origin.clone()));
        }
        match &self.sip_address {
            Some(address) if !is_sip_address(address) => {
                Err(ConfigError::NotASipAddress(address.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The public base without its last slash.
    pub(super) fn public_base(&self) -> Option<&str> {
        self.public_url
            .as_deref()
            .map(|url| url.trim_end_matches('/'))
    }
}

fn check_url(setting: &'static str, url: Option<&str>) -> Result<(), ConfigError> {
    let fine = url.is_none_or(|url| {
        url.parse::<axum::http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        })
    });
    if fine {
        return Ok(());
    }
    Err(ConfigError::NotAUrl {
        setting,
        value: url.unwrap_or_default().to_owned(),
    })
}

/// One CSP source expression: an origin, a wildcard host or `'self'`.
fn is_source(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b',' | b'"' | b'<' | b'>'))
}

fn is_sip_address(text: &str) -> bool {
    let host = text.split([';', '?']).next().unwrap_or_default();
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'&' | b'<' | b'>' | b'"' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_a_real_bridges_settings_are_fine() {
        assert_eq!(Config::default().validate(), Ok(()));
        let config = Config {
            public_url: Some("https://bridge.example.com/voice/".into()),
            frame_ancestors: vec!["https://flex.twilio.com".into(), "'self'".into()],
            sip_address: Some("[2001:db8::1]:5061;transport=tls".into()),
            twilio: Twilio {
                auth_token: Some("secret".into()),
                studio_webhook_url: Some("https://webhooks.twilio.com/v1/F?a=b".into()),
            },
            ..Config::default()
        };
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(
            config.public_base(),
            Some("https://bridge.example.com/voice")
        );
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn a_setting_that_would_break_out_of_its_place_is_refused() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().is_err()
        };
        assert!(with(|c| c.public_url = Some("bridge.example.com".into())));
        assert!(with(|c| c.public_url = Some("ftp://bridge".into())));
        assert!(with(|c| c.public_url = Some(String::new())));
        assert!(with(|c| c.twilio.studio_webhook_url = Some("/v1".into())));
        assert!(with(|c| c.twilio.auth_token = Some(String::new())));
        for origin in ["https://a; script-src *", "a,b", "", "a b", "a\r\nb"] {
            let config = Config {
                frame_ancestors: vec![origin.into()],
                ..Config::default()
            };
            assert!(config.validate().is_err(), "{origin:?}");
        }
        for address in ["", "h?x-a=1", "user@h", "h h", ";transport=tcp", "h\">"] {
            let config = Config {
                sip_address: Some(address.into()),
                ..Config::default()
            };
            assert!(config.validate().is_err(), "{address:?}");
        }
    }
}
