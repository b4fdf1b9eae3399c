//! The jitter buffer of the uplink: packets in any order in, one gapless timeline out.
//!
//! Policy *stream*: the listener is a recogniser, so nothing waits for a playout instant. What is next in order
//! leaves at once; only a hole holds back what came behind it, and only as long as [`reordering`] makes its
//! filling likely. When nothing comes at all, [`drought`] says when the timeline moves on with made-up sound.
//!
//! ```text
//!            next in order            hole, and newer packets wait        nothing waits
//! Flowing ──────────────────► out    Holed ──(filled)──► Flowing         Starved ──► made-up sound, a frame at a time
//!                                          └─(wait over)► lost samples          └─(a packet)► Flowing
//! ```
//!
//! Timestamps decide how long a gap was: a pause of the sender (DTX) and lost packets both leave one, and what
//! starvation already made up is taken off it. After a stall that lost nothing there is no gap, so everything is
//! delivered; the timeline is then ahead by what was made up, and later gaps pay it back.
//!
//! A clocked playout would be another owner of the same [`store`], asked on a tick instead of on arrival.

mod drought;
mod reordering;
mod store;

use std::time::{Duration, Instant};

use drought::Drought;
use reordering::Reordering;
pub use store::{Content, Incoming, MAX_PAYLOAD};
use store::{Head, Store};

use super::rtp::packet::RtpTimestamp;
use crate::vocab::PTIME;
use crate::vocab::audio::WIRE_FRAME;

/// The sender's clock is believed until it would carry the timeline this far past our own.
const GAP_SLACK: u64 = 8_000;
/// Given-up packets remembered, to learn from those that come after all.
const REGRETS: usize = 16;
/// Of one hole, this many packets teach; a long outage is one event, not fifty.
const LESSONS: u64 = 3;

/// How the buffer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a hole may hold back what came after it, at most.
    pub reorder_wait_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reorder_wait_max: Duration::from_millis(80),
        }
    }
}

/// The next piece of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playout<'a> {
    /// A packet's payload.
    Audio(&'a [u8]),
    /// Samples that never came: conceal them. At most a frame at a time.
    Lost {
        /// So many.
        samples: usize,
        /// Samples lost from here to the end of the hole, these included.
        whole: usize,
        /// The payload behind the hole, when it is audio and nothing else lies between.
        after: Option<&'a [u8]>,
    },
    /// So many samples were never sent, or nothing comes: comfort noise. At most a frame at a time.
    Silence(usize),
    /// The far end describes its background noise, in -dBov (RFC 3389); takes no time itself.
    Noise(u8),
}

/// What the buffer counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Came after their place was filled in.
    pub late: u64,
    /// Given up when their wait was over.
    pub given_up: u64,
    /// Dropped because nobody took them out, or longer than any ptime we speak.
    pub overflow: u64,
    /// Timestamps that made no sense against the clock, and were not followed.
    pub timestamp_jumps: u64,
    /// Samples made up while nothing came.
    pub starved: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Buffer {
    store: Store,
    reordering: Reordering,
    drought: Drought,
    /// Sequence number that is next in order.
    next: Option<u64>,
    /// Timestamp that follows without a gap; `None` where the sender's clock starts anew.
    expected: Option<RtpTimestamp>,
    /// The highest that came, and the timestamp behind it.
    newest: Option<(u64, RtpTimestamp)>,
    /// Packets given up since the last one that left.
    missing: u64,
    /// Samples of the last audio packet: what a lost one probably held.
    packet_len: usize,
    gap: Gap,
    /// Samples made up in starvation that the sender's clock has not accounted for.
    ahead: u64,
    clock: Option<Clock>,
    in_speech: bool,
    regrets: [Option<(u64, Instant)>; REGRETS],
    regret: usize,
    stats: Stats,
}

/// Made-up samples that leave before the packet in front.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    lost: u64,
    silent: u64,
}

impl Gap {
    const fn is_open(&self) -> bool {
        self.lost > 0 || self.silent > 0
    }
}

/// The wall clock against what left.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Instant,
    /// Samples that left since `start`.
    position: u64,
    /// When the last real packet left, and the position then.
    fed: (Instant, u64),
    /// Starvation has begun: patience is over until a packet comes.
    starved: bool,
}

impl Buffer {
    /// An empty buffer; nothing leaves before [`Self::start`].
    pub fn new(config: Config) -> Self {
        Self {
            store: Store::new(),
            reordering: Reordering::new(config.reorder_wait_max),
            drought: Drought::default(),
            next: None,
            expected: None,
            newest: None,
            missing: 0,
            packet_len: WIRE_FRAME,
            gap: Gap::default(),
            ahead: 0,
            clock: None,
            in_speech: false,
            regrets: [None; REGRETS],
            regret: 0,
            stats: Stats::default(),
        }
    }

    /// The timeline begins.
    pub fn start(&mut self, now: Instant) {
        self.clock = Some(Clock {
            start: now,
            position: 0,
            fed: (now, 0),
            starved: false,
        });
    }

    /// Whether the last of what left sounded like speech: it makes the patience longer.
    pub fn set_in_speech(&mut self, in_speech: bool) {
        self.in_speech = in_speech;
    }

    /// A packet came. Before the start it only says where the numbering is.
    pub fn handle(&mut self, now: Instant, incoming: &Incoming<'_>) {
        if self.clock.is_none() {
            self.next = self.next.max(Some(incoming.sequence + 1));
            return;
        }
        if !incoming.fits() {
            self.stats.overflow += 1;
            return;
        }
        let next = *self.next.get_or_insert(incoming.sequence);
        if incoming.sequence < next {
            self.regret(now, incoming.sequence);
            return;
        }
        if let Some(detected) = self.store.overtaken_at(incoming.sequence) {
            self.reordering
                .filled(now.saturating_duration_since(detected));
        }
        self.make_room(now, incoming.sequence);
        self.measure_gap(now, incoming);
        self.store.insert(now, incoming);
    }

    /// The next piece of the timeline; `None` until a packet or [`Self::poll_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<Playout<'_>> {
        self.clock?;
        loop {
            if self.gap.is_open() {
                return Some(self.take_gap());
            }
            let next = self.next.unwrap_or_default();
            if self.store.holds(next) {
                if self.open_gap(now, next) {
                    continue;
                }
                self.next = Some(next + 1);
                match self.leave(now, next) {
                    Left::Audio => return self.store.take(next).map(Playout::Audio),
                    Left::Noise(level) => {
                        self.store.take(next);
                        return Some(Playout::Noise(level));
                    }
                    Left::Nothing => {
                        self.store.take(next);
                    }
                }
            } else if let Some(lowest) = self.store.lowest() {
                if now < self.hole_deadline()? {
                    return None;
                }
                self.give_up_to(now, lowest);
            } else {
                return self.starve(now);
            }
        }
    }

    /// When [`Self::poll`] has something without a packet coming.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.clock?;
        self.hole_deadline().or_else(|| self.starvation_deadline())
    }

    /// Samples that left since the start.
    pub fn position(&self) -> u64 {
        self.clock.map_or(0, |clock| clock.position)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How long the next hole would be waited for.
    pub fn reorder_wait(&self) -> Duration {
        self.reordering.wait()
    }

    /// Tells the drought of a packet that is ahead of all others; only an unbroken sequence says how long a stall was.
    fn measure_gap(&mut self, now: Instant, incoming: &Incoming<'_>) {
        let (newest, end) = match self.newest {
            Some((newest, _)) if incoming.sequence <= newest => return,
            Some((newest, end)) => (Some(newest), end),
            None => (None, incoming.timestamp),
        };
        let unbroken = newest.is_some_and(|newest| newest + 1 == incoming.sequence)
            && (incoming.timestamp == end || !incoming.content.is_timed());
        self.drought.arrived(now, !unbroken);
        let end = if incoming.content.is_timed() {
            incoming.timestamp.advanced(incoming.content.samples())
        } else {
            end
        };
        self.newest = Some((incoming.sequence, end));
    }

    fn hole_deadline(&self) -> Option<Instant> {
        let detected = self.store.oldest_arrival()?;
        Some(detected + self.reordering.wait())
    }

    fn starvation_deadline(&self) -> Option<Instant> {
        let clock = self.clock?;
        let (at, position) = clock.fed;
        let made_up = wire_duration(clock.position - position);
        let steady = at + made_up + PTIME + self.drought.lag();
        if clock.starved {
            Some(steady)
        } else {
            Some(steady.max(at + PTIME + self.drought.patience(self.in_speech)))
        }
    }

    fn starve(&mut self, now: Instant) -> Option<Playout<'_>> {
        if now < self.starvation_deadline()? {
            return None;
        }
        let clock = self.clock.as_mut()?;
        clock.starved = true;
        clock.position += WIRE_FRAME as u64;
        if self.expected.is_some() {
            self.ahead += WIRE_FRAME as u64;
        }
        self.stats.starved += WIRE_FRAME as u64;
        Some(Playout::Silence(WIRE_FRAME))
    }

    /// A piece of the open gap.
    fn take_gap(&mut self) -> Playout<'_> {
        let (whole, silent) = (self.gap.lost, self.gap.silent);
        let left = if whole > 0 {
            &mut self.gap.lost
        } else {
            &mut self.gap.silent
        };
        let samples = usize::try_from(*left).map_or(WIRE_FRAME, |left| left.min(WIRE_FRAME));
        *left -= samples as u64;
        if let Some(clock) = &mut self.clock {
            clock.position += samples as u64;
        }
        if whole == 0 {
            return Playout::Silence(samples);
        }
        let next = self.next.filter(|_| silent == 0);
        let after = next.and_then(|next| self.store.payload(next));
        Playout::Lost {
            samples,
            whole: usize::try_from(whole).unwrap_or(usize::MAX),
            after: after.filter(|payload| !payload.is_empty()),
        }
    }

    /// Compares the packet in front with the timeline; `true` when something has to be made up before it.
    fn open_gap(&mut self, now: Instant, next: u64) -> bool {
        let Some(head) = self.store.peek(next).filter(|head| head.content.is_timed()) else {
            return false; // a telephone event carries the time of its start, not of its sending
        };
        let by_timestamp = self
            .expected
            .filter(|_| !head.discontinuity)
            .and_then(|expected| self.gap_by_timestamp(now, head.timestamp.since(expected)));
        let gap = by_timestamp.unwrap_or_else(|| self.gap_by_clock(&head));
        self.store.settle(next);
        self.expected = Some(head.timestamp);
        let missing = self.missing * self.packet_len as u64;
        self.missing = 0;
        let paid = gap.min(self.ahead);
        self.ahead -= paid;
        self.gap.lost = (gap - paid).min(missing);
        self.gap.silent = gap - paid - self.gap.lost;
        gap > paid
    }

    /// What the sender's clock says, unless it would carry the timeline far past our own.
    fn gap_by_timestamp(&mut self, now: Instant, gap: i32) -> Option<u64> {
        let clock = self.clock?;
        let passed = wire_samples(now.saturating_duration_since(clock.start));
        match u64::try_from(gap) {
            Ok(0) => Some(0),
            Ok(gap) if clock.position + gap <= passed + self.ahead.min(gap) + GAP_SLACK => {
                Some(gap)
            }
            Ok(_) | Err(_) => {
                self.stats.timestamp_jumps += 1;
                None
            }
        }
    }

    /// Where the sender's clock says nothing: whole frames up to the packet's arrival, less the packet itself.
    fn gap_by_clock(&mut self, head: &Head) -> u64 {
        self.ahead = 0;
        let Some(clock) = &self.clock else { return 0 };
        let passed = wire_samples(head.arrived.saturating_duration_since(clock.start));
        let frame = WIRE_FRAME as u64;
        let behind = passed.saturating_sub(clock.position + u64::from(head.content.samples()));
        behind / frame * frame
    }

    fn leave(&mut self, now: Instant, next: u64) -> Left {
        let Some(head) = self.store.peek(next) else {
            return Left::Nothing;
        };
        let samples = head.content.samples();
        if let Some(clock) = &mut self.clock {
            clock.position += u64::from(samples);
            clock.fed = (now, clock.position);
            clock.starved = false;
        }
        if head.content.is_timed() {
            self.expected = Some(head.timestamp.advanced(samples));
        }
        match head.content {
            Content::Audio { samples } => {
                self.packet_len = samples.max(1);
                Left::Audio
            }
            Content::Noise { level } => Left::Noise(level),
            Content::Event => Left::Nothing,
        }
    }

    /// The window is full up to `sequence`: gives up holes, then the oldest packets, until it fits.
    fn make_room(&mut self, now: Instant, sequence: u64) {
        while let Some(next) = self.next
            && !Store::reaches(next, sequence)
        {
            match self.store.lowest() {
                Some(lowest) if lowest == next => {
                    self.store.take(next);
                    self.stats.overflow += 1;
                    self.missing += 1;
                    self.next = Some(next + 1);
                }
                Some(lowest) => self.give_up_to(now, lowest),
                None => self.give_up_to(now, sequence),
            }
        }
    }

    fn give_up_to(&mut self, now: Instant, sequence: u64) {
        let Some(next) = self.next.replace(sequence) else {
            return;
        };
        let count = sequence - next;
        self.missing += count;
        self.stats.given_up += count;
        let detected = self.store.oldest_arrival().unwrap_or(now);
        for lost in (next..sequence)
            .rev()
            .take(usize::try_from(LESSONS).unwrap_or(0))
        {
            self.reordering.given_up();
            self.regrets[self.regret % REGRETS] = Some((lost, detected));
            self.regret = self.regret.wrapping_add(1);
        }
    }

    fn regret(&mut self, now: Instant, sequence: u64) {
        self.stats.late += 1;
        for regret in &mut self.regrets {
            if let Some((lost, detected)) = *regret
                && lost == sequence
            {
                *regret = None;
                self.reordering
                    .came_too_late(now.saturating_duration_since(detected));
            }
        }
    }
}

enum Left {
    Audio,
    Noise(u8),
    Nothing,
}

/// How long `samples` of 8 kHz last.
pub(crate) fn wire_duration(samples: u64) -> Duration {
    Duration::from_micros(samples * 125)
}

/// Samples of 8 kHz in a time.
fn wire_samples(time: Duration) -> u64 {
    u64::try_from(time.as_micros() / 125).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
