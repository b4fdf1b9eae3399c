//! A registrar: asks for a password, keeps bindings, and is silent, brief or forgetful on request.

use std::net::SocketAddr;
use std::time::Instant;

use baton_core::sip::auth::Account;
use baton_core::sip::message::{Message, Name, Request};
use baton_core::vocab::Entropy;
use bytes::Bytes;

use super::doorkeeper::Doorkeeper;
use super::wire::Datagram;

#[derive(Debug)]
pub(crate) struct Registrar {
    pub(crate) address: SocketAddr,
    pub(crate) door: Doorkeeper,
    /// It receives, and says nothing.
    pub(crate) silent: bool,
    /// Shorter bindings are refused with 423.
    pub(crate) least: u32,
    /// The Contact it keeps, and until when.
    pub(crate) binding: Option<(String, Instant)>,
    /// Seconds of each REGISTER that was accepted.
    pub(crate) accepted: Vec<u32>,
}

impl Registrar {
    pub(crate) fn new(address: SocketAddr, account: Account, entropy: &mut Entropy) -> Self {
        Self {
            address,
            door: Doorkeeper::new(&["REGISTER"], account, entropy),
            silent: false,
            least: 0,
            binding: None,
            accepted: Vec::new(),
        }
    }

    /// The user part of the Contact it keeps.
    pub(crate) fn contact_user(&self) -> String {
        let (contact, _) = self.binding.as_ref().expect("a binding");
        let user = contact.strip_prefix("<sip:").expect("a Contact");
        user.split('@').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_bound(&self, now: Instant) -> bool {
        self.binding.as_ref().is_some_and(|(_, until)| now < *until)
    }

    /// What it says to a message.
    pub(crate) fn receives(&mut self, now: Instant, datagram: &Datagram) -> Option<Bytes> {
        if self.silent {
            return None;
        }
        let Ok(Message::Request(request)) = Message::parse(&datagram.payload) else {
            return None;
        };
        if request.method().as_str() != "REGISTER" {
            return Some(Doorkeeper::answer(&request, 405, &[]));
        }
        let answer = match self.door.looks_at(now, datagram) {
            Err(refusal) => refusal,
            Ok(()) => self.binds(now, &request),
        };
        Some(answer)
    }

    fn binds(&mut self, now: Instant, request: &Request) -> Bytes {
        let headers = request.headers();
        let expires = headers
            .get(Name::Expires)
            .and_then(|text| text.parse().ok());
        let expires: u32 = expires.expect("Expires");
        if expires > 0 && expires < self.least {
            let least = self.least.to_string();
            return Doorkeeper::answer(request, 423, &[(Name::MinExpires, &least)]);
        }
        let contact = headers.get(Name::Contact).expect("Contact").to_owned();
        self.accepted.push(expires);
        let until = now + std::time::Duration::from_secs(expires.into());
        let answer = format!("{contact};expires={expires}");
        self.binding = (expires > 0).then_some((contact, until));
        Doorkeeper::answer(request, 200, &[(Name::Contact, &answer)])
    }
}
