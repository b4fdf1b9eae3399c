//! The leg as a media shard drives it: every word goes straight to the core.

use std::net::SocketAddr;
use std::time::Instant;

use baton_core::agent::{LinkOutput, Message};
use baton_core::leg::{Command, Event, Leg};

use crate::net::media_shard::MediaLeg;

impl MediaLeg for Leg {
    type Command = Command;
    type Event = Event;

    fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        Leg::handle_rtp(self, now, from, datagram);
    }

    fn handle_link_open(&mut self, now: Instant) {
        Leg::handle_link_open(self, now);
    }

    fn handle_link_message(&mut self, now: Instant, message: Message<'_>) {
        Leg::handle_link_message(self, now, message);
    }

    fn handle_link_closed(&mut self, now: Instant, clean: bool, why: String) {
        Leg::handle_link_closed(self, now, clean, why);
    }

    fn handle_link_behind(&mut self, _now: Instant, messages: u64) {
        Leg::handle_link_behind(self, messages);
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        Leg::handle_command(self, now, command);
    }

    fn handle_tick(&mut self, now: Instant) {
        Leg::handle_tick(self, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Leg::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Leg::poll_timeout(self)
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])> {
        Leg::poll_transmit(self)
    }

    fn poll_link(&mut self) -> Option<LinkOutput<'_>> {
        Leg::poll_link(self)
    }

    fn poll_event(&mut self) -> Option<Event> {
        Leg::poll_event(self)
    }

    fn is_finished(&self) -> bool {
        Leg::is_finished(self)
    }

    fn is_obsolete_soon(event: &Event) -> bool {
        matches!(event, Event::Report(_))
    }
}
