//! The offers and answers of one dialog: what stays the same between them.

use super::{Direction, Local, Negotiated, Offer, Refusal, answer, offer};

/// Keeps the `o=` version (one more only when the description changed, RFC 3264 §8) and the running codec.
#[derive(Debug, Clone)]
pub struct Session {
    local: Local,
    /// What was last said, to see whether the next is new.
    said: Option<String>,
}

impl Session {
    /// Nothing said yet; the first description bears `local.version`.
    pub fn new(local: Local) -> Self {
        Self { local, said: None }
    }

    /// Our side as it stands.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// What we are willing to do from the next description on.
    pub fn set_direction(&mut self, direction: Direction) {
        self.local.direction = direction;
    }

    /// Answers an offer; a refused one changes nothing (RFC 3264 §8: the old session stands).
    ///
    /// # Errors
    /// What a 488 should say.
    pub fn answer(&mut self, theirs: &Offer) -> Result<Negotiated, Refusal> {
        let mut negotiated = answer(theirs, &self.local)?;
        if self.is_news(&negotiated.body) {
            self.local.version += 1;
            negotiated = answer(theirs, &self.local)?;
        }
        self.said = Some(negotiated.body.clone());
        self.local.keep = Some(negotiated.codec);
        Ok(negotiated)
    }

    /// Makes our offer: the first, or a repeated one.
    pub fn offer(&mut self) -> String {
        let mut body = offer(&self.local);
        if self.is_news(&body) {
            self.local.version += 1;
            body = offer(&self.local);
        }
        self.said = Some(body.clone());
        body
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// When it cannot be used; the caller hangs up.
    pub fn handle_answer(&mut self, theirs: &Offer) -> Result<Negotiated, Refusal> {
        let negotiated = Negotiated::from_answer(theirs, &self.local)?;
        self.local.keep = Some(negotiated.codec);
        Ok(negotiated)
    }

    fn is_news(&self, body: &str) -> bool {
        self.said.as_deref().is_some_and(|said| said != body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Codec;

    fn session() -> Session {
        Session::new(Local::new("192.0.2.2".parse().unwrap(), 4000, 14))
    }

    fn offer_of(formats: &str, direction: &str) -> Offer {
        Offer::parse(
            format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP {formats}\r\na={direction}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn version(body: &str) -> &str {
        let origin = body.lines().nth(1).unwrap();
        origin.split(' ').nth(2).unwrap()
    }

    #[test]
    fn the_version_rises_only_when_something_changed() {
        let mut session = session();
        let first = session.answer(&offer_of("0", "sendrecv")).unwrap();
        let refresh = session.answer(&offer_of("0", "sendrecv")).unwrap();
        assert_eq!(first.body, refresh.body);
        assert_eq!(version(&first.body), "1");
        let held = session.answer(&offer_of("0", "sendonly")).unwrap();
        assert_eq!(version(&held.body), "2");
        let back = session.answer(&offer_of("0", "sendrecv")).unwrap();
        assert_eq!(version(&back.body), "3");
    }

    #[test]
    fn a_refused_offer_leaves_the_session_as_it_was() {
        let mut session = session();
        let first = session.answer(&offer_of("0", "sendrecv")).unwrap();
        assert!(session.answer(&offer_of("18", "sendrecv")).is_err());
        let again = session.answer(&offer_of("0", "sendrecv")).unwrap();
        assert_eq!(first.body, again.body);
    }

    #[test]
    fn a_reinvite_keeps_the_running_codec_while_it_is_offered() {
        let mut session = session();
        let first = session.answer(&offer_of("8 0", "sendrecv")).unwrap();
        assert_eq!(first.codec, Codec::Pcma);
        let second = session.answer(&offer_of("0 8", "sendrecv")).unwrap();
        assert_eq!(second.codec, Codec::Pcma);
        let third = session.answer(&offer_of("0", "sendrecv")).unwrap();
        assert_eq!(third.codec, Codec::Pcmu);
    }

    #[test]
    fn two_sessions_agree_with_each_other() {
        let (mut alice, mut bob) = (session(), session());
        let offer = Offer::parse(alice.offer().as_bytes()).unwrap();
        let theirs = bob.answer(&offer).unwrap();
        let answer = Offer::parse(theirs.body.as_bytes()).unwrap();
        let ours = alice.handle_answer(&answer).unwrap();
        assert_eq!(
            (ours.codec, ours.telephone_event),
            (theirs.codec, theirs.telephone_event)
        );
        assert_eq!(ours.telephone_event, Some(101));
        alice.set_direction(Direction::SendOnly);
        let offer = Offer::parse(alice.offer().as_bytes()).unwrap();
        let held = bob.answer(&offer).unwrap();
        assert!(held.hold && !held.send && held.receive);
        let ours = alice
            .handle_answer(&Offer::parse(held.body.as_bytes()).unwrap())
            .unwrap();
        assert!(ours.send && !ours.receive);
    }
}
