//! The agent's audio ahead of the caller's ear: a queue of G.711 octets with marks in it, taken a frame at a time.
//!
//! A *turn* is a run of agent audio: it starts with the first frame that carries some and ends when nothing more
//! came for 200 ms, with a mark behind which nothing is queued, or with [`Playout::clear`]. What is reported as
//! heard was really sent.
//!
//! Marks are a FIFO. One is heard when all that was queued before it has been sent, or when nothing is left to
//! send; a clear reports those still waiting as not heard, in order.

use std::collections::VecDeque;
use std::time::Duration;

use super::g711::{self, Codec};
use super::jitter::wire_duration;
use crate::vocab::audio::WIRE_FRAME;

/// Marks and events waiting; a mark beyond it is refused (reported as not heard).
const WAITING: usize = 1024;
/// Frames without agent audio that end a turn: a slow agent's sentences are not torn apart.
const TURN_HANGOVER: u32 = 10;
/// Octets reserved from the start, and kept when a long turn has drained.
const USUAL: usize = 1_600;

/// What became of the agent's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A mark was reached, or cleared.
    Marked {
        /// Its name.
        name: String,
        /// All that was queued before it has been sent.
        heard: bool,
        /// Media time.
        at: Duration,
    },
    /// First audio of a turn was sent.
    TurnStarted {
        /// Media time.
        at: Duration,
    },
    /// A turn is over.
    TurnEnded {
        /// Media time of its first sample.
        from: Duration,
        /// Media time of the end of its last.
        to: Duration,
    },
    /// The queue was cleared.
    Cleared {
        /// What was sent of the turn under way.
        heard: Duration,
    },
}

/// How much of a frame was the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All of it.
    Full,
    /// So many octets, the rest is untouched.
    Partial(usize),
    /// Nothing.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Playout {
    queue: VecDeque<u8>,
    max: usize,
    /// Octets ever queued and ever taken.
    queued: u64,
    taken: u64,
    marks: VecDeque<(u64, String)>,
    events: VecDeque<Event>,
    paused: bool,
    turn: Option<Turn>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    from: Duration,
    to: Duration,
    octets: u64,
    idle: u32,
}

impl Playout {
    /// An empty queue.
    ///
    /// * `max`: how far ahead the agent may be.
    pub fn new(max: Duration) -> Self {
        Self {
            queue: VecDeque::with_capacity(USUAL),
            max: usize::try_from(max.as_micros() / 125).unwrap_or(usize::MAX),
            queued: 0,
            taken: 0,
            marks: VecDeque::new(),
            events: VecDeque::new(),
            paused: false,
            turn: None,
        }
    }

    /// Queues octets; the newest are dropped when it is full.
    ///
    /// * returns how many were dropped.
    pub fn push(&mut self, octets: &[u8]) -> usize {
        let room = self.max.saturating_sub(self.queue.len());
        let kept = octets.len().min(room);
        self.queue.extend(&octets[..kept]);
        self.queued += kept as u64;
        octets.len() - kept
    }

    /// Marks this place in the audio.
    ///
    /// * `pending`: octets queued before it that are still in the resampler.
    /// * `at`: media time now, for a mark that is heard at once.
    pub fn mark(&mut self, name: String, pending: usize, at: Duration) {
        if self.marks.len() + self.events.len() >= WAITING {
            self.report(Event::Marked {
                name,
                heard: false,
                at,
            });
            return;
        }
        self.marks.push_back((self.queued + pending as u64, name));
        self.report_marks(at, pending);
    }

    /// Takes a frame.
    ///
    /// * `at`: media time of its start.
    /// * `pending`: octets that are still in the resampler.
    pub fn take(&mut self, at: Duration, pending: usize, frame: &mut [u8; WIRE_FRAME]) -> Taken {
        let octets = if self.paused {
            0
        } else {
            self.queue.len().min(WIRE_FRAME)
        };
        for (slot, octet) in frame.iter_mut().zip(self.queue.drain(..octets)) {
            *slot = octet;
        }
        self.taken += octets as u64;
        self.account(at, octets as u64);
        self.report_marks(at + wire_duration(octets as u64), pending);
        if self.queue.is_empty() && self.queue.capacity() > 4 * USUAL {
            self.queue.shrink_to(USUAL);
        }
        match octets {
            0 => Taken::Nothing,
            WIRE_FRAME => Taken::Full,
            some => Taken::Partial(some),
        }
    }

    /// Drops all that is queued and reports its marks as not heard.
    ///
    /// * `at`: media time now.
    /// * returns what was sent of the turn under way.
    pub fn clear(&mut self, at: Duration) -> Duration {
        self.queue.clear();
        self.queue.shrink_to(USUAL);
        self.taken = self.queued;
        while let Some((_, name)) = self.marks.pop_front() {
            self.report(Event::Marked {
                name,
                heard: false,
                at,
            });
        }
        let heard = self
            .turn
            .map_or(Duration::ZERO, |turn| wire_duration(turn.octets));
        self.paused = false;
        // Before the turn's end, so that whoever writes turns down knows by then that this one was cut.
        self.report(Event::Cleared { heard });
        self.end_turn();
        heard
    }

    /// Turns what is queued into another law.
    pub fn transcode(&mut self, from: Codec, to: Codec) {
        if from != to {
            g711::transcode(from, to, self.queue.make_contiguous());
        }
    }

    /// Stops taking; nothing is lost.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Goes on where [`Self::pause`] stopped.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether [`Self::pause`] holds.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Octets queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn account(&mut self, at: Duration, octets: u64) {
        let end = at + wire_duration(octets);
        match &mut self.turn {
            Some(turn) if octets > 0 => {
                turn.to = end;
                turn.octets += octets;
                turn.idle = 0;
            }
            Some(turn) => {
                // A pause interrupts a turn, it does not end it.
                turn.idle += u32::from(!self.paused);
                if turn.idle >= TURN_HANGOVER {
                    self.end_turn();
                }
            }
            None if octets > 0 => {
                self.turn = Some(Turn {
                    from: at,
                    to: end,
                    octets,
                    idle: 0,
                });
                self.report(Event::TurnStarted { at });
            }
            None => {}
        }
    }

    fn end_turn(&mut self) {
        if let Some(Turn { from, to, .. }) = self.turn.take() {
            self.report(Event::TurnEnded { from, to });
        }
    }

    fn report_marks(&mut self, at: Duration, pending: usize) {
        let all_sent = self.queue.is_empty() && pending == 0;
        while let Some((place, _)) = self.marks.front() {
            if *place > self.taken && !all_sent {
                return;
            }
            // The agent said that this is the end of something, and nothing follows: no need to wait and see.
            if all_sent {
                self.end_turn();
            }
            if let Some((_, name)) = self.marks.pop_front() {
                self.report(Event::Marked {
                    name,
                    heard: true,
                    at,
                });
            }
        }
    }

    /// Room for every mark is kept; only events that nobody polls are lost, the oldest first.
    fn report(&mut self, event: Event) {
        if self.events.len() >= 2 * WAITING {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// Frames that `octets` fill, for tests and figures.
#[cfg(test)]
fn frames(octets: usize) -> usize {
    octets.div_ceil(WIRE_FRAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn events(playout: &mut Playout) -> Vec<Event> {
        std::iter::from_fn(|| playout.poll_event()).collect()
    }

    fn marked(name: &str, heard: bool, at: u64) -> Event {
        Event::Marked {
            name: name.into(),
            heard,
            at: MS(at),
        }
    }

    /// Takes `n` frames from `from` ms on.
    fn take(playout: &mut Playout, from: u64, n: u64) {
        for frame in 0..n {
            playout.take(MS(from + frame * 20), 0, &mut [0; WIRE_FRAME]);
        }
    }

    #[test]
    fn marks_are_heard_in_order_when_what_was_before_them_was_sent() {
        let mut playout = Playout::new(MS(1000));
        playout.push(&[1; 240]);
        playout.mark("a".into(), 0, MS(0));
        playout.push(&[2; 80]);
        playout.mark("b".into(), 0, MS(0));
        playout.mark("b".into(), 0, MS(0));
        assert_eq!(events(&mut playout), []);
        take(&mut playout, 0, 1);
        assert_eq!(events(&mut playout), [Event::TurnStarted { at: MS(0) }]);
        take(&mut playout, 20, 1);
        assert_eq!(
            events(&mut playout),
            [
                Event::TurnEnded {
                    from: MS(0),
                    to: MS(40)
                },
                marked("a", true, 40),
                marked("b", true, 40),
                marked("b", true, 40)
            ]
        );
    }

    #[test]
    fn a_mark_with_nothing_before_it_is_heard_at_once() {
        let mut playout = Playout::new(MS(1000));
        playout.mark("m".into(), 0, MS(7));
        assert_eq!(events(&mut playout), [marked("m", true, 7)]);
    }

    #[test]
    fn a_mark_behind_resampler_content_waits_for_it() {
        let mut playout = Playout::new(MS(1000));
        playout.mark("m".into(), 40, MS(0));
        assert_eq!(events(&mut playout), []);
        playout.take(MS(0), 40, &mut [0; WIRE_FRAME]);
        assert_eq!(events(&mut playout), []);
        playout.push(&[1; 40]);
        take(&mut playout, 20, 1);
        assert_eq!(
            events(&mut playout),
            [
                Event::TurnStarted { at: MS(20) },
                Event::TurnEnded {
                    from: MS(20),
                    to: MS(25)
                },
                marked("m", true, 25)
            ]
        );
    }

    #[test]
    fn clear_tells_what_was_heard_and_which_marks_were_not() {
        let mut playout = Playout::new(MS(1000));
        playout.push(&[1; 800]);
        playout.mark("end".into(), 0, MS(0));
        playout.mark("after".into(), 0, MS(0));
        take(&mut playout, 0, 2);
        assert_eq!(playout.clear(MS(40)), MS(40));
        assert_eq!(
            events(&mut playout),
            [
                Event::TurnStarted { at: MS(0) },
                marked("end", false, 40),
                marked("after", false, 40),
                Event::Cleared { heard: MS(40) },
                Event::TurnEnded {
                    from: MS(0),
                    to: MS(40)
                },
            ]
        );
        assert!(playout.is_empty());
        assert_eq!(
            playout.take(MS(40), 0, &mut [0; WIRE_FRAME]),
            Taken::Nothing
        );
        playout.mark("next".into(), 0, MS(60));
        assert_eq!(events(&mut playout), [marked("next", true, 60)]);
    }

    #[test]
    fn clearing_nothing_is_answered_too() {
        let mut playout = Playout::new(MS(1000));
        assert_eq!(playout.clear(MS(0)), Duration::ZERO);
        assert_eq!(
            events(&mut playout),
            [Event::Cleared {
                heard: Duration::ZERO
            }]
        );
    }

    #[test]
    fn a_turn_survives_a_late_agent_and_ends_with_its_last_sample() {
        let mut playout = Playout::new(MS(1000));
        playout.push(&[1; 160]);
        take(&mut playout, 0, 9);
        playout.push(&[1; 240]);
        take(&mut playout, 180, 2 + 9);
        assert_eq!(events(&mut playout), [Event::TurnStarted { at: MS(0) }]);
        take(&mut playout, 400, 1);
        assert_eq!(
            events(&mut playout),
            [Event::TurnEnded {
                from: MS(0),
                to: MS(210)
            }]
        );
    }

    #[test]
    fn a_pause_loses_nothing_and_ends_no_turn() {
        let mut playout = Playout::new(MS(1000));
        playout.push(&[1; 320]);
        take(&mut playout, 0, 1);
        playout.pause();
        assert!(playout.is_paused());
        take(&mut playout, 20, 100);
        assert_eq!(playout.len(), 160);
        playout.resume();
        take(&mut playout, 2020, 1);
        assert_eq!(events(&mut playout), [Event::TurnStarted { at: MS(0) }]);
        assert_eq!(playout.clear(MS(2040)), MS(40));
    }

    #[test]
    fn the_newest_is_dropped_when_it_is_full() {
        let mut playout = Playout::new(MS(100));
        assert_eq!(playout.push(&[1; 700]), 0);
        assert_eq!(playout.push(&[2; 700]), 600);
        assert_eq!(frames(playout.len()), 5);
        let mut frame = [0; WIRE_FRAME];
        take(&mut playout, 0, 4);
        assert_eq!(playout.take(MS(80), 0, &mut frame), Taken::Full);
        assert_eq!((frame[59], frame[60]), (1, 2));
        assert_eq!(playout.take(MS(100), 0, &mut frame), Taken::Nothing);
    }

    #[test]
    fn a_long_turns_memory_is_given_back() {
        let mut playout = Playout::new(MS(120_000));
        playout.push(&vec![1; 900_000]);
        take(&mut playout, 0, 5_625);
        assert!(playout.is_empty() && playout.queue.capacity() < 4 * USUAL + 1);
    }

    #[test]
    fn a_flood_of_marks_is_bounded_and_each_is_answered_while_events_are_taken() {
        let mut playout = Playout::new(MS(1000));
        playout.push(&[1; 160]);
        let mut refused = 0;
        for n in 0..5_000 {
            playout.mark(n.to_string(), 0, MS(0));
            refused += events(&mut playout).len();
        }
        assert_eq!(refused, 5_000 - WAITING);
        take(&mut playout, 0, 1);
        assert_eq!(
            events(&mut playout).len(),
            1 + 1 + WAITING,
            "a turn's start, its end, the marks"
        );
    }
}
