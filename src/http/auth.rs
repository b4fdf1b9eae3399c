//! Who may use the API: keys with scopes, a login for the console, and, where no key is set, this machine only.
//!
//! A browser on this machine that is steered by a foreign page is not this machine: the Host header must name a
//! loopback address (DNS rebinding), an Origin header too (cross-site requests), and a forwarding header means that
//! somebody else is behind a local proxy.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::ApiError;
use super::counters::count;
use super::{Peer, State, clock};

/// Name of the console's cookie.
pub(super) const COOKIE: &str = "baton_console";

/// A login lasts a shift.
const LOGIN_LASTS: Duration = Duration::from_hours(12);
/// Logins kept; the oldest gives way.
const LOGINS_MAX: usize = 256;

/// Headers by which a proxy says that the request is not its own.
const FORWARDING: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
    "true-client-ip",
];

/// One kind of permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Look: calls, histories, events, the console.
    Read,
    /// Steer calls, and place them.
    Control,
    /// Hand callers over, and keep transfer records.
    Transfer,
}

impl Scope {
    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Control => 2,
            Self::Transfer => 4,
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every one.
    pub const ALL: Self = Self(7);

    /// Whether one of `wanted` is in it.
    fn allows(self, wanted: &[Scope]) -> bool {
        wanted.iter().any(|scope| self.0 & scope.bit() != 0)
    }

    fn parse(text: &str) -> Option<Self> {
        text.split('+')
            .map(|word| match word {
                "read" => Some(Scope::Read.bit()),
                "control" => Some(Scope::Control.bit()),
                "transfer" => Some(Scope::Transfer.bit()),
                "all" => Some(Self::ALL.0),
                _ => None,
            })
            .try_fold(0, |bits, bit| Some(bits | bit?))
            .map(Self)
    }
}

/// One API key: `name:scope:key`, scopes joined by `+`; or the bare key, which may do everything.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    name: String,
    scopes: Scopes,
    key: String,
}

/// Not an API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadApiKey {
    /// Anybody could send it.
    #[error("an API key is empty; was its environment variable set?")]
    Empty,
    /// The part between the colons is no scope.
    #[error(
        "an API key is \"name:scope:key\" with scope read, control, transfer or all (or several, joined by +), or the bare key without a colon; {0:?} is no scope"
    )]
    UnknownScope(String),
    /// A header could not carry it.
    #[error("an API key may hold only visible ASCII characters")]
    NotVisible,
}

impl FromStr for ApiKey {
    type Err = BadApiKey;

    fn from_str(text: &str) -> Result<Self, BadApiKey> {
        let (name, scopes, key) = match text.split_once(':') {
            None => ("", Scopes::ALL, text),
            Some((name, rest)) => {
                let (scope, key) = rest.split_once(':').unwrap_or((rest, ""));
                let scopes =
                    Scopes::parse(scope).ok_or_else(|| BadApiKey::UnknownScope(scope.into()))?;
                (name, scopes, key)
            }
        };
        if key.is_empty() {
            return Err(BadApiKey::Empty);
        }
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadApiKey::NotVisible);
        }
        Ok(Self {
            name: name.into(),
            scopes,
            key: key.into(),
        })
    }
}

impl ApiKey {
    /// Whether it opens what asks for `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allows(&[scope])
    }

    /// What a client sends as its bearer token.
    pub fn token(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}: {:?})", self.name, self.scopes)
    }
}

/// Who was let in; a request extension for the handlers behind [`require`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// The key's name, `loopback` where there is none.
    pub(super) name: String,
    scopes: Scopes,
}

/// Browsers that logged in to the console.
#[derive(Debug, Default)]
pub(super) struct ConsoleLogins(Mutex<VecDeque<Login>>);

#[derive(Debug)]
struct Login {
    token: String,
    client: Client,
    until: Instant,
}

impl ConsoleLogins {
    fn remember(&self, token: String, client: Client, now: Instant) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|login| login.until > now);
        while logins.len() >= LOGINS_MAX {
            logins.pop_front();
        }
        logins.push_back(Login {
            token,
            client,
            until: now + LOGIN_LASTS,
        });
    }

    fn client(&self, token: &str, now: Instant) -> Option<Client> {
        let logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins
            .iter()
            .filter(|login| login.until > now)
            .fold(None, |found, login| {
                if same(&login.token, token) {
                    Some(login.client.clone())
                } else {
                    found
                }
            })
    }
}

/// Exchanges a key for a console login: the token to keep in the cookie.
pub(super) fn log_in(state: &State, key: &str) -> Option<String> {
    let client = client_of(&state.config.api_keys, key)?;
    let token = state.token(16);
    state
        .logins
        .remember(token.clone(), client, clock::instant());
    Some(token)
}

/// A layer that lets through who has one of `wanted`.
pub(super) async fn require(
    Extract((state, wanted)): Extract<(State, &'static [Scope])>,
    mut request: Request,
    next: Next,
) -> Response {
    match authorise(&state, &request, wanted) {
        Ok(client) => {
            request.extensions_mut().insert(client);
            next.run(request).await
        }
        Err(error) => {
            count(&state.counters.unauthorized);
            error.into_response()
        }
    }
}

/// Who sent the request, if they may do one of `wanted`.
pub(super) fn authorise(
    state: &State,
    request: &Request,
    wanted: &[Scope],
) -> Result<Client, ApiError> {
    let headers = request.headers();
    let client = if state.config.api_keys.is_empty() {
        is_this_machine(request).then(|| Client {
            name: "loopback".into(),
            scopes: Scopes::ALL,
        })
    } else if let Some(key) = presented_key(headers) {
        client_of(&state.config.api_keys, key)
    } else {
        cookie(headers)
            .filter(|_| is_same_site(request))
            .and_then(|token| state.logins.client(token, clock::instant()))
    };
    let client = client.ok_or_else(|| unauthorized(state))?;
    if client.scopes.allows(wanted) {
        return Ok(client);
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "scope_missing",
        "this key may not do that; its scope is set in [http] api_keys",
    ))
}

fn unauthorized(state: &State) -> ApiError {
    let message = if state.config.api_keys.is_empty() {
        "no API key is set, so only clients on this machine are served; set [http] api_keys"
    } else {
        "send a key: Authorization: Bearer KEY, x-api-key: KEY, or asapp-api-id with asapp-api-secret"
    };
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// The key that a request carries, in any of the three spellings.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer
        .or_else(|| text("x-api-key"))
        .or_else(|| text("asapp-api-id").and_then(|_| text("asapp-api-secret")))
}

/// Compares with every key, so that the time taken tells nothing about which of them is near.
fn client_of(keys: &[ApiKey], presented: &str) -> Option<Client> {
    keys.iter().fold(None, |found, known| {
        if same(&known.key, presented) {
            Some(Client {
                name: known.name.clone(),
                scopes: known.scopes,
            })
        } else {
            found
        }
    })
}

/// Equality in a time that depends only on the lengths.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let differences = a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Whether the request comes from a client on this machine, and from nobody through it.
pub(super) fn is_this_machine(request: &Request) -> bool {
    let headers = request.headers();
    let peer = request
        .extensions()
        .get::<ConnectInfo<Peer>>()
        .is_some_and(|ConnectInfo(Peer(peer))| peer.ip().to_canonical().is_loopback());
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(is_loopback_authority);
    let target = request
        .uri()
        .authority()
        .is_none_or(|authority| is_loopback_authority(authority.as_str()));
    let origin = headers
        .get(header::ORIGIN)
        .is_none_or(|origin| origin.to_str().is_ok_and(is_loopback_origin));
    let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    peer && host && target && origin && !forwarded
}

/// A cookie counts only for pages of this very server.
fn is_same_site(request: &Request) -> bool {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(header::HOST)
        }
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| is_loopback_authority(authority))
}

fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_their_scope_or_bare() {
        let bare: ApiKey = "s3cret".parse().unwrap();
        assert_eq!((bare.scopes, bare.key.as_str()), (Scopes::ALL, "s3cret"));
        let scoped: ApiKey = "desk:read:a:b".parse().unwrap();
        assert_eq!((scoped.name.as_str(), scoped.key.as_str()), ("desk", "a:b"));
        assert!(scoped.scopes.allows(&[Scope::Read]));
        assert!(!scoped.scopes.allows(&[Scope::Control, Scope::Transfer]));
        let two: ApiKey = "x:read+control:k".parse().unwrap();
        assert!(two.scopes.allows(&[Scope::Control]) && !two.scopes.allows(&[Scope::Transfer]));
        assert!(!format!("{scoped:?}{bare:?}").contains("s3cret"));
    }

    #[test]
    fn a_key_that_would_let_in_anybody_is_refused() {
        for (text, error) in [
            ("", BadApiKey::Empty),
            ("desk:read:", BadApiKey::Empty),
            ("desk:all", BadApiKey::Empty),
            ("desk:raed:k", BadApiKey::UnknownScope("raed".into())),
            ("desk:k", BadApiKey::UnknownScope("k".into())),
            ("a b", BadApiKey::NotVisible),
            ("kéy", BadApiKey::NotVisible),
        ] {
            assert_eq!(text.parse::<ApiKey>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for yes in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback_authority(yes), "{yes}");
        }
        for no in [
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8080",
            "[2001:db8::1]",
            "10.0.0.1",
            "user@127.0.0.1",
            "::1",
        ] {
            assert!(!is_loopback_authority(no), "{no}");
        }
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(same("abc", "abc"));
        for other in ["abd", "bbc", "ab", "abcd", ""] {
            assert!(!same("abc", other), "{other}");
        }
    }

    #[test]
    fn the_oldest_login_gives_way_and_every_one_ends() {
        let logins = ConsoleLogins::default();
        let client = Client {
            name: "desk".into(),
            scopes: Scopes::ALL,
        };
        let now = clock::instant();
        for number in 0..=LOGINS_MAX {
            logins.remember(format!("t{number}"), client.clone(), now);
        }
        assert_eq!(logins.client("t0", now), None);
        assert_eq!(logins.client("t1", now), Some(client));
        assert_eq!(logins.client("t1", now + LOGIN_LASTS), None);
    }
}
