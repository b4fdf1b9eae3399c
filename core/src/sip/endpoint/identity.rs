//! Who sends this: the trunk it belongs to, the proof that is asked for, and the challenges that we answer.
//!
//! A request outside any dialog is looked at by [`Trunks`](crate::sip::trunk::Trunks). Requests in a dialog are known
//! by their tags; where the caller had to prove itself, they are only when they come from the same address. ACK and
//! CANCEL are never challenged (RFC 3261 §22.1).

use std::sync::Arc;
use std::time::Instant;

use super::Endpoint;
use super::event::{DialogId, Flow};
use super::layer::Origin;
use crate::sip::auth::{Account, Asked, Verdict};
use crate::sip::dialog::Acquaintance;
use crate::sip::message::{Name, Request, Response};
use crate::sip::transaction::TransactionId;
use crate::sip::trunk::Caller;

/// Whose call it is.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) trunk: String,
    pub(super) acquaintance: Acquaintance,
    /// Its Request-URI is the Contact of a registration of ours, so To says who is called.
    pub(super) by_contact: bool,
}

/// Why it is nobody's yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It is on no list: 403, and nothing to guess at.
    Stranger,
    /// It was wrong too often: 403.
    Barred,
    /// 401.
    Unproven { stale: bool },
}

impl Endpoint {
    /// The trunk of a request outside any dialog.
    pub(super) fn identify(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
    ) -> Result<Known, Unknown> {
        let caller = Caller {
            source: flow.remote.ip(),
            names: self.core.layer.connections.identity(flow),
        };
        let registrations = &self.registrations;
        let candidates = self.trunks.candidates(&caller, |trunk| {
            registrations.brought(now, trunk, request.uri(), flow)
        });
        let unproven: Vec<&Account> = candidates
            .iter()
            .filter_map(|candidate| candidate.proof.map(Arc::as_ref))
            .collect();
        let verdict = if unproven.is_empty() {
            Verdict::Unproven { stale: false }
        } else {
            verify(&mut self.authenticator, now, request, flow, &unproven)
        };
        // Only the last candidate needs no proof, so those that do have the same index in both lists.
        let chosen = match verdict {
            Verdict::Proven(index) => candidates.get(index),
            Verdict::Unproven { .. } | Verdict::Barred => {
                candidates.last().filter(|last| last.proof.is_none())
            }
        };
        let Some(chosen) = chosen else {
            return Err(match verdict {
                _ if candidates.is_empty() => Unknown::Stranger,
                Verdict::Unproven { stale } => Unknown::Unproven { stale },
                Verdict::Barred | Verdict::Proven(_) => Unknown::Barred,
            });
        };
        Ok(Known {
            trunk: chosen.name.to_owned(),
            acquaintance: Acquaintance::new(chosen.account.cloned(), chosen.proof.cloned()),
            by_contact: chosen.registered && registrations.is_contact(request.uri()),
        })
    }

    /// A request in a dialog from where it is not believed: whose caller proved itself may do so again from there.
    pub(super) fn reassure(
        &mut self,
        now: Instant,
        dialog: DialogId,
        request: &Request,
        flow: &Flow,
    ) -> Result<(), Unknown> {
        let session = self.dialogs.get(dialog);
        let proof = session.and_then(|session| session.dialog.acquaintance().proof());
        let proof = Arc::clone(proof.ok_or(Unknown::Stranger)?);
        match verify(&mut self.authenticator, now, request, flow, &[&proof]) {
            Verdict::Proven(_) => Ok(()),
            Verdict::Unproven { stale } => Err(Unknown::Unproven { stale }),
            Verdict::Barred => Err(Unknown::Barred),
        }
    }

    /// 403 or 401, without being remembered.
    pub(super) fn refuse_unknown(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
        unknown: Unknown,
    ) {
        let stale = match unknown {
            Unknown::Stranger | Unknown::Barred => {
                self.core.layer.counters.strangers += 1;
                return self.core.refuse(request, flow, 403);
            }
            Unknown::Unproven { stale } => stale,
        };
        self.core.layer.counters.challenged += 1;
        let source = flow.remote.ip();
        let challenges = self.authenticator.challenges(now, source, stale);
        self.core.refuse_with(request, flow, 401, |response| {
            challenges.iter().fold(response, |response, challenge| {
                response.header(Name::WwwAuthenticate, challenge)
            })
        });
    }

    /// A 401 or 407 to a request of ours in a dialog.
    ///
    /// * returns `true` when it was answered, so that the request's user has nothing to see.
    pub(super) fn handle_challenge(
        &mut self,
        now: Instant,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) -> bool {
        if !matches!(response.status(), 401 | 407) {
            return false;
        }
        let Some(owner) = origin.owner else {
            return false;
        };
        let answered = self.with(owner, |session, core| {
            session.answer_challenge(now, core, client, origin, response)
        });
        if answered == Some(true) {
            self.core.layer.counters.challenges_answered += 1;
        }
        answered == Some(true)
    }
}

fn verify(
    authenticator: &mut crate::sip::auth::Authenticator,
    now: Instant,
    request: &Request,
    flow: &Flow,
    accounts: &[&Account],
) -> Verdict {
    let asked = Asked {
        method: request.method(),
        uri: request.uri(),
        source: flow.remote.ip(),
    };
    let values = request.headers().all(Name::Authorization);
    authenticator.verify(now, asked, values, accounts)
}
