//! The line test everybody knows: the caller hears the caller. Also the agent that load is measured with: it holds
//! nothing and allocates nothing.

use std::time::{Duration, Instant};

use super::{Audio, AudioFormat, Command, Dialect, Event, LinkRequest, Message, Outbox};

/// The dialect of `kind = "echo"`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl Dialect for Echo {
    fn format(&self) -> AudioFormat {
        AudioFormat::Ulaw
    }

    fn link(&self) -> Option<LinkRequest> {
        None
    }

    fn handle_open(&mut self, _now: Instant, out: &mut dyn Outbox) {
        out.event(Event::Ready);
    }

    fn handle_command(&mut self, _now: Instant, _command: Command, _out: &mut dyn Outbox) {}

    fn hear(&mut self, _now: Instant, _at: Duration, audio: Audio<'_>, out: &mut dyn Outbox) {
        out.play(audio);
    }

    fn handle_message(&mut self, _now: Instant, _message: Message<'_>, _out: &mut dyn Outbox) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::ladder::{Ladder, start};

    #[test]
    fn the_caller_hears_the_caller_frame_by_frame() {
        let mut agent = Ladder::new(Echo);
        agent.opens();
        agent.command(start());
        for value in 0..50 {
            agent.hears(Audio::Ulaw(&[value; 160]));
            assert_eq!(agent.played(), [value; 160]);
        }
        assert_eq!(agent.events(), [Event::Ready]);
    }

    #[test]
    fn it_has_no_socket_and_no_wishes() {
        let mut agent = Ladder::new(Echo);
        agent.command(Command::Dtmf {
            digit: '0',
            duration: Duration::from_millis(100),
            at: Duration::ZERO,
        });
        agent.receives("{}");
        agent.advance(Duration::from_hours(1));
        assert_eq!(agent.dialect.link(), None);
        assert_eq!(agent.events(), []);
        assert!(agent.texts().is_empty());
    }
}
