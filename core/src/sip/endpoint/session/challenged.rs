//! Challenges of our requests in a dialog (RFC 3261 §22.2, §22.3): the same request with the next number and credentials.

use std::time::Instant;

use super::{Cancel, Session, Usage};
use crate::sip::endpoint::core::Core;
use crate::sip::endpoint::layer::{Origin, Purpose};
use crate::sip::message::Response;
use crate::sip::transaction::TransactionId;

impl Session {
    /// Says a request that was answered 401 or 407 again.
    ///
    /// * returns `false` when it cannot be: nobody's account, no algorithm, refused before, or nobody wants it any more.
    pub(in crate::sip::endpoint) fn answer_challenge(
        &mut self,
        now: Instant,
        core: &mut Core,
        client: TransactionId,
        origin: Origin,
        response: &Response,
    ) -> bool {
        if !self.is_wanted(origin.purpose) {
            return false;
        }
        let tries = core.layer.said_again(client);
        let Some(request) = core.layer.client_request(client) else {
            return false;
        };
        let to = request.headers().to();
        let tag = to.ok().and_then(|to| to.tag()).unwrap_or_default();
        // A PRACK may belong to a phone that only rings yet, which counts by itself.
        let dialog = if tag == self.dialog.remote_tag() {
            &mut self.dialog
        } else {
            self.early.with(tag).unwrap_or(&mut self.dialog)
        };
        let cnonce = core.author.tag();
        let answered =
            dialog
                .acquaintance_mut()
                .answer(now, request, response.headers(), (tries, &cnonce));
        let fields = match answered {
            Ok(fields) => fields,
            Err(why) => {
                tracing::debug!(%why, "a challenge is not answered");
                return false;
            }
        };
        let cseq = dialog.next_cseq();
        if core.say_again(now, client, cseq, &fields).is_err() {
            return false;
        }
        if origin.purpose == Purpose::Refer {
            self.transferor.handle_renumbered(origin.cseq, cseq);
        }
        true
    }

    /// A CANCEL is not challenged, and an INVITE that was cancelled ends with its challenge.
    fn is_wanted(&self, purpose: Purpose) -> bool {
        match purpose {
            // A registration has no dialog.
            Purpose::Cancel | Purpose::Register(_) => false,
            Purpose::Invite => matches!(
                self.usage,
                Usage::Calling {
                    cancel: Cancel::NotWanted,
                    ..
                }
            ),
            Purpose::Reinvite
            | Purpose::Refresh
            | Purpose::Prack
            | Purpose::Bye
            | Purpose::Refer
            | Purpose::Notify => true,
        }
    }
}
