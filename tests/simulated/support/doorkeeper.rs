//! Stands before somebody's endpoint and lets nobody in who has not proved himself, as a PBX or its proxy does.

use std::collections::BTreeSet;
use std::time::Instant;

use baton_core::sip::auth::{Account, Algorithm, Asked, Authenticator, Verdict};
use baton_core::sip::message::{Message, Name, Request, Response};
use baton_core::vocab::Entropy;
use bytes::Bytes;

use super::wire::Datagram;

#[derive(Debug)]
pub(crate) struct Doorkeeper {
    authenticator: Authenticator,
    account: Account,
    /// Which requests must prove themselves.
    methods: &'static [&'static str],
    /// Requests that did, by branch: a repeat of one is the same request.
    let_in: BTreeSet<String>,
    /// How many it asked.
    pub(crate) asked: usize,
    /// The next so many answers are called stale, right or wrong.
    pub(crate) forgets: usize,
}

impl Doorkeeper {
    pub(crate) fn new(
        methods: &'static [&'static str],
        account: Account,
        entropy: &mut Entropy,
    ) -> Self {
        Self {
            authenticator: Authenticator::new(
                "pbx",
                &[Algorithm::SHA_256, Algorithm::MD5],
                entropy,
            ),
            account,
            methods,
            let_in: BTreeSet::new(),
            asked: 0,
            forgets: 0,
        }
    }

    /// The request, if it is one that may go in; else what it is told.
    pub(crate) fn looks_at(&mut self, now: Instant, datagram: &Datagram) -> Result<(), Bytes> {
        let Ok(Message::Request(request)) = Message::parse(&datagram.payload) else {
            return Ok(());
        };
        if !self.methods.contains(&request.method().as_str()) {
            return Ok(());
        }
        let branch = request
            .headers()
            .via()
            .ok()
            .and_then(|via| via.branch().map(str::to_owned))
            .unwrap_or_default();
        if self.let_in.contains(&branch) {
            return Ok(());
        }
        let asked = Asked {
            method: request.method(),
            uri: request.uri(),
            source: datagram.from.ip(),
        };
        let values = request.headers().all(Name::Authorization);
        let verdict = self
            .authenticator
            .verify(now, asked, values, &[&self.account]);
        match verdict {
            Verdict::Proven(_) if self.forgets > 0 => {
                self.forgets -= 1;
                Err(self.challenge(now, &request, datagram, true))
            }
            Verdict::Proven(_) => {
                self.let_in.insert(branch);
                Ok(())
            }
            Verdict::Unproven { stale } => Err(self.challenge(now, &request, datagram, stale)),
            Verdict::Barred => Err(Self::answer(&request, 403, &[])),
        }
    }

    fn challenge(
        &mut self,
        now: Instant,
        request: &Request,
        datagram: &Datagram,
        stale: bool,
    ) -> Bytes {
        self.asked += 1;
        let values = self
            .authenticator
            .challenges(now, datagram.from.ip(), stale);
        let lines: Vec<_> = values
            .iter()
            .map(|v| (Name::WwwAuthenticate, v.as_str()))
            .collect();
        Self::answer(request, 401, &lines)
    }

    /// An answer that belongs to no transaction.
    pub(crate) fn answer(request: &Request, status: u16, lines: &[(Name, &str)]) -> Bytes {
        let mut response = Response::builder_for(request, status).to_tag("door");
        for (name, value) in lines {
            response = response.header(*name, value);
        }
        response.build().expect("an answer").to_bytes()
    }
}
