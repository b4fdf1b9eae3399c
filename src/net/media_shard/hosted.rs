//! One leg on its shard: its socket, its agent's link and its queues around the core.
//!
//! Its task wakes for packets, agent messages and commands; the frame clock calls in from outside. Both go through
//! the same drains, and whatever blocks registers the task's own waker, also when the clock was the one that tried.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use baton_core::agent::Message;
use baton_core::agent::dialect::MessageKind;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::clock::{Clock, Slot};
use super::{Incoming, LinkOutput, MediaLeg, Seat, count};
use crate::net::agent_link::{AgentLink, Closed, LinkError, LinkEvent};

/// Larger than any RTP packet on an Ethernet path; what is longer is cut, and refused by its parser.
const DATAGRAM: usize = 2048;
/// Packets, messages or commands taken in one wake before the others have their turn.
const TURN: usize = 64;
/// Events that wait for a call which does not listen; one that leaves more unread is dead.
const BACKLOG: usize = 256;
/// Messages that wait for a link to open; audio beyond is stale by then and dropped, oldest first.
const BEFORE_OPEN: usize = 64;
/// How long the last events may take to be taken.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Connecting = Pin<Box<dyn Future<Output = Result<AgentLink, LinkError>>>>;

enum Link {
    /// None wanted, or it is over.
    Absent,
    Connecting(Connecting, VecDeque<Early>),
    Open(Box<AgentLink>),
}

/// Said before the link was open.
struct Early {
    octets: Vec<u8>,
    is_text: bool,
    kind: MessageKind,
}

pub(super) struct Hosted<L: MediaLeg> {
    leg: L,
    socket: UdpSocket,
    link: Link,
    commands: mpsc::Receiver<L::Command>,
    events: mpsc::Sender<L::Event>,
    backlog: VecDeque<L::Event>,
    /// The leg's own task.
    waker: Waker,
    /// The call is gone or deaf: end without waiting for the leg to finish.
    abandoned: bool,
    clock: Rc<Clock<L>>,
    _seat: Seat,
}

impl<L: MediaLeg> Hosted<L> {
    /// One leg's life.
    pub(super) async fn run(incoming: Incoming<L>, clock: Rc<Clock<L>>) {
        let Some(hosted) = Self::host(incoming, clock.clone()) else {
            return;
        };
        let slot: Slot<L> = Rc::new(RefCell::new(Some(hosted)));
        // Also after a panic in this task the clock finds an empty slot and lets it go.
        let _vacate = Vacate(slot.clone());
        clock.add(slot.clone());
        poll_fn(|cx| match slot.borrow_mut().as_mut() {
            Some(hosted) => hosted.poll(cx),
            None => Poll::Ready(()),
        })
        .await;
        let ended = slot.borrow_mut().take();
        if let Some(ended) = ended {
            ended.end().await;
        }
    }

    fn host(incoming: Incoming<L>, clock: Rc<Clock<L>>) -> Option<Self> {
        let Incoming {
            open,
            commands,
            seat,
        } = incoming;
        let socket = register(open.rtp_socket)
            .inspect_err(|error| tracing::error!(%error, "an RTP socket cannot be served"))
            .ok()?;
        let link = match open.link {
            None => Link::Absent,
            Some(request) => {
                let timeout = open.connect_timeout;
                let connecting = async move { AgentLink::connect(&request, timeout).await };
                Link::Connecting(Box::pin(connecting), VecDeque::new())
            }
        };
        Some(Self {
            leg: open.leg,
            socket,
            link,
            commands,
            events: open.events,
            backlog: VecDeque::new(),
            waker: Waker::noop().clone(),
            abandoned: false,
            clock,
            _seat: seat,
        })
    }

    /// The frame clock.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.leg.poll_timeout().is_some_and(|due| due <= now) {
            self.leg.handle_timeout(now);
        }
        self.leg.handle_tick(now);
        self.drain(now);
        if self.is_over() {
            self.wake();
        }
    }

    /// The clock between two ticks.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.leg.poll_timeout().is_some_and(|due| due <= now) {
            self.leg.handle_timeout(now);
            self.drain(now);
            if self.is_over() {
                self.wake();
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.leg.poll_timeout()
    }

    /// Wakes the leg's own task.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    fn is_over(&self) -> bool {
        self.abandoned || self.leg.is_finished()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "shell: the one clock read of a wake"
    )]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.clone_from(cx.waker());
        let now = Instant::now();
        self.take_commands(now, cx);
        self.take_link(now, cx);
        self.take_rtp(now, cx);
        self.drain(now);
        self.clock.note(self.leg.poll_timeout());
        if self.is_over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn take_commands(&mut self, now: Instant, cx: &mut Context<'_>) {
        for _ in 0..TURN {
            match self.commands.poll_recv(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(command)) => self.leg.handle_command(now, command),
                Poll::Ready(None) => {
                    self.abandoned = true;
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take_link(&mut self, now: Instant, cx: &mut Context<'_>) {
        self.take_connection(now, cx);
        for _ in 0..TURN {
            let Link::Open(link) = &mut self.link else {
                return;
            };
            match link.poll_event(cx) {
                Poll::Pending => return,
                Poll::Ready(LinkEvent::Text(text)) => {
                    self.leg.handle_link_message(now, Message::Text(&text));
                }
                Poll::Ready(LinkEvent::Binary(octets)) => {
                    self.leg.handle_link_message(now, Message::Binary(&octets));
                }
                Poll::Ready(LinkEvent::Closed(closed)) => {
                    self.lose_link(now, closed);
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take_connection(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Link::Connecting(connecting, early) = &mut self.link else {
            return;
        };
        let Poll::Ready(connected) = connecting.as_mut().poll(cx) else {
            return;
        };
        match connected {
            Ok(mut link) => {
                for Early {
                    octets,
                    is_text,
                    kind,
                } in early.drain(..)
                {
                    match std::str::from_utf8(&octets) {
                        Ok(text) if is_text => link.send(cx, Message::Text(text), kind),
                        _ => link.send(cx, Message::Binary(&octets), kind),
                    }
                }
                self.link = Link::Open(Box::new(link));
                self.leg.handle_link_open(now);
            }
            Err(error) => {
                self.link = Link::Absent;
                self.leg.handle_link_closed(now, false, error.to_string());
            }
        }
    }

    fn lose_link(&mut self, now: Instant, closed: Closed) {
        let lost = std::mem::replace(&mut self.link, Link::Absent);
        let Closed { clean, why, code } = closed;
        // To a fault we answer with its code; to a goodbye the socket has answered itself.
        bid_farewell(lost, if clean { 1000 } else { code.unwrap_or(1011) }, &why);
        self.leg.handle_link_closed(now, clean, why);
    }

    fn take_rtp(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut storage = [const { MaybeUninit::uninit() }; DATAGRAM];
        let mut taken = 0;
        for _ in 0..TURN {
            let mut buffer = ReadBuf::uninit(&mut storage);
            match self.socket.poll_recv_from(cx, &mut buffer) {
                Poll::Pending => {
                    count(&self.clock.stats.received, taken);
                    return;
                }
                Poll::Ready(Ok(from)) => {
                    taken += 1;
                    self.leg.handle_rtp(now, from, buffer.filled());
                }
                // An ICMP error about something we sent; the next read goes on.
                Poll::Ready(Err(error)) => tracing::trace!(%error, "RTP socket"),
            }
        }
        count(&self.clock.stats.received, taken);
        cx.waker().wake_by_ref();
    }

    fn drain(&mut self, now: Instant) {
        self.drain_rtp();
        self.drain_link(now);
        self.drain_events();
    }

    fn drain_rtp(&mut self) {
        while let Some((to, packet)) = self.leg.poll_transmit() {
            // Never waits: a packet that the system does not take now is late already.
            let outcome = match self.socket.try_send_to(packet, to) {
                Ok(_) => &self.clock.stats.sent,
                Err(_) => &self.clock.stats.send_errors,
            };
            count(outcome, 1);
        }
    }

    fn drain_link(&mut self, now: Instant) {
        let mut cx = Context::from_waker(&self.waker);
        let mut close = None;
        while let Some(output) = self.leg.poll_link() {
            match (output, &mut self.link) {
                (LinkOutput::Send { message, kind }, Link::Open(link)) => {
                    link.send(&mut cx, message, kind);
                }
                (LinkOutput::Send { message, kind }, Link::Connecting(_, early)) => {
                    keep(early, message, kind);
                }
                (LinkOutput::Close { code, reason }, _) => {
                    close.get_or_insert((code, reason.to_owned()));
                }
                // The link is over; what the dialect still says has nowhere to go.
                (LinkOutput::Send { .. }, Link::Absent) => {}
            }
        }
        if let Link::Open(link) = &mut self.link {
            link.flush(&mut cx);
            let dropped = link.take_dropped();
            if dropped > 0 {
                self.leg.handle_link_behind(now, dropped);
            }
            if link.has_fault() {
                self.waker.wake_by_ref();
            }
        }
        if let Some((code, reason)) = close {
            let link = std::mem::replace(&mut self.link, Link::Absent);
            bid_farewell(link, code, &reason);
        }
    }

    fn drain_events(&mut self) {
        self.offer_backlog();
        while let Some(event) = self.leg.poll_event() {
            let event = if self.backlog.is_empty() {
                match self.events.try_send(event) {
                    Ok(()) => continue,
                    Err(mpsc::error::TrySendError::Closed(_)) => {
                        self.abandoned = true;
                        return;
                    }
                    Err(mpsc::error::TrySendError::Full(event)) => event,
                }
            } else {
                event
            };
            if L::is_obsolete_soon(&event) {
                count(&self.clock.stats.events_dropped, 1);
            } else if self.backlog.len() < BACKLOG {
                self.backlog.push_back(event);
            } else {
                tracing::warn!("a call does not take its leg's events; the leg is ended");
                count(&self.clock.stats.events_dropped, 1);
                self.abandoned = true;
                return;
            }
        }
    }

    /// Retried with every drain, so at the latest with the next tick.
    fn offer_backlog(&mut self) {
        while !self.backlog.is_empty() {
            let Ok(room) = self.events.try_reserve() else {
                return;
            };
            if let Some(event) = self.backlog.pop_front() {
                room.send(event);
            }
        }
    }

    /// Closes the sockets politely and delivers what the call has not taken yet.
    async fn end(self) {
        bid_farewell(self.link, 1000, "");
        drop(self.socket);
        if self.abandoned {
            return;
        }
        let last_words = async {
            for event in self.backlog {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    }
}

/// Empties the slot whatever ends the task.
struct Vacate<L: MediaLeg>(Slot<L>);

impl<L: MediaLeg> Drop for Vacate<L> {
    fn drop(&mut self) {
        if let Ok(mut slot) = self.0.try_borrow_mut() {
            if std::thread::panicking()
                && let Some(hosted) = slot.as_ref()
            {
                count(&hosted.clock.stats.panics, 1);
            }
            slot.take();
        }
    }
}

fn register(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Ends a link in its own time; the leg does not wait for it.
fn bid_farewell(link: Link, code: u16, reason: &str) {
    if let Link::Open(link) = link {
        let reason = reason.to_owned();
        tokio::task::spawn_local(async move { link.farewell(code, &reason).await });
    }
}

fn keep(early: &mut VecDeque<Early>, message: Message<'_>, kind: MessageKind) {
    if early.len() >= BEFORE_OPEN {
        let oldest = early.iter().position(|e| e.kind == MessageKind::Audio);
        early.remove(oldest.unwrap_or(0));
    }
    let (octets, is_text) = match message {
        Message::Text(text) => (text.as_bytes().to_vec(), true),
        Message::Binary(octets) => (octets.to_vec(), false),
    };
    early.push_back(Early {
        octets,
        is_text,
        kind,
    });
}
