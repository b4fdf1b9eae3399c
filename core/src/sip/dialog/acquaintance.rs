//! How the two ends of a dialog know each other: what the peer proved, and what we answer when it asks us.

use std::sync::Arc;
use std::time::Instant;

use crate::sip::auth::{Account, Authorizations, Unanswerable};
use crate::sip::message::{Headers, Method, Name, Request};

/// Both are as its trunk has them; a dialog without either is as good as any.
#[derive(Debug, Clone, Default)]
pub struct Acquaintance {
    /// Our answers; without an account no challenge is ever answered.
    authorizations: Option<Box<Authorizations>>,
    /// What the peer proved, and proves again from another address.
    proof: Option<Arc<Account>>,
}

impl Acquaintance {
    /// * `account`: answers the peer's challenges.
    /// * `proof`: whom the peer proved to be.
    pub fn new(account: Option<Arc<Account>>, proof: Option<Arc<Account>>) -> Self {
        Self {
            authorizations: account.map(|account| Box::new(Authorizations::new(account))),
            proof,
        }
    }

    /// Whom the peer proved to be.
    pub fn proof(&self) -> Option<&Arc<Account>> {
        self.proof.as_ref()
    }

    /// What a request bears before anybody asks.
    pub fn fields(
        &mut self,
        now: Instant,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Vec<(Name, String)> {
        let authorizations = self.authorizations.as_mut();
        authorizations.map_or_else(Vec::new, |a| a.fields(now, method, uri, cnonce))
    }

    /// Whether [`Acquaintance::fields`] may have something.
    pub fn is_asked(&self) -> bool {
        self.authorizations
            .as_ref()
            .is_some_and(|authorizations| !authorizations.is_empty())
    }

    /// What `request` must bear when it is said again after a challenge.
    ///
    /// # Errors
    /// It is not to be.
    pub fn answer(
        &mut self,
        now: Instant,
        request: &Request,
        challenge: &Headers,
        (tries, cnonce): (u8, &str),
    ) -> Result<Vec<(Name, String)>, Unanswerable> {
        let authorizations = self.authorizations.as_mut();
        let authorizations = authorizations.ok_or(Unanswerable::NoAccount)?;
        authorizations.handle_challenge(now, request.headers(), challenge, tries)?;
        Ok(authorizations.fields(now, request.method(), request.uri(), cnonce))
    }
}
