//! One call's voice on the phone's side, as a sans-IO core that a media shard carries.
//!
//! ```text
//!  play ─► downlink ─► a packet every 20 ms          packets ─► latch ─► numbering ─► g711 ─► recording
//!            ▲ digits (RFC 4733)                                   └─ digits   └─ levels, first packet, first voice
//! ```
//!
//! What is heard is laid on the sender's clock, not through a jitter buffer: a report must show what came.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_core::agent::{LinkOutput, Message};
use baton_core::media::downlink::{self, Downlink};
use baton_core::media::dtmf;
use baton_core::media::g711::{self, Codec};
use baton_core::media::levels;
use baton_core::media::rtp::packet::{self, Packet, RtpTimestamp, SeqNo};
use baton_core::media::rtp::receiver::{Receiver, Verdict};
use baton_core::media::rtp::{Admission, Latch, LatchPolicy};
use baton_core::vocab::audio::WIRE_FRAME;
use baton_core::vocab::{Entropy, PTIME, SampleRate};

use super::plan::Keep;
use super::report::{RtpReport, ms};
use super::standstill::Gaps;
use crate::net::media_shard::MediaLeg;

/// Samples per second of everything here.
const RATE: usize = 8000;
/// What is said is queued this far ahead.
const AHEAD: Duration = Duration::from_millis(200);
/// Half an hour of recording.
const MAX_RECORDING: usize = RATE * 1800;
/// A timestamp that leaps further than this is a new clock, laid where the wall clock says.
const MAX_LEAP: usize = RATE * 5;
/// Ten minutes of gaps.
const MAX_GAPS: usize = 30_000;
/// Frames per level.
const LEVEL_FRAMES: u32 = 10;
/// Louder than this is a voice, not a line.
const VOICE_DBFS: f32 = -45.0;
/// A pressed key.
const KEY: Duration = Duration::from_millis(160);
/// Between two keys.
const KEY_GAP: Duration = Duration::from_millis(80);

/// What the leg is made for.
#[derive(Debug, Clone)]
pub(super) struct LegPlan {
    pub(super) play: Arc<[i16]>,
    pub(super) repeat: bool,
    pub(super) keep: Keep,
    /// Somebody looks at the levels.
    pub(super) levels: bool,
    pub(super) no_rtp_timeout: Duration,
}

/// What the answer agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    pub(super) remote: SocketAddr,
    pub(super) signalling: IpAddr,
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) telephone_event: Option<u8>,
}

#[derive(Debug)]
pub(super) enum LegCommand {
    /// The answer: voice flows from here on.
    Start(Agreed),
    /// A re-INVITE.
    Renegotiated {
        remote: SocketAddr,
        send: bool,
        receive: bool,
    },
    Press(String),
    /// Tell what was seen, and end.
    Finish,
}

#[derive(Debug, PartialEq)]
pub(super) enum LegEvent {
    FirstPacket(Duration),
    FirstVoice(Duration),
    Level { heard: f32, said: f32 },
    PlayedOut,
    Digit(char),
    MediaLost,
    Finished(Box<Heard>),
}

/// What was seen, at the end.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Heard {
    pub(super) rtp: RtpReport,
    /// Its longest silences, for who knows whether this machine stood still.
    pub(super) gaps: Gaps,
    pub(super) recording: Vec<i16>,
}

/// The leg.
#[derive(Debug)]
pub(super) struct PhoneLeg {
    plan: LegPlan,
    ssrc: u32,
    seq: SeqNo,
    timestamp: RtpTimestamp,
    talk: Option<Talk>,
    packet: Vec<u8>,
    packet_due: bool,
    events: VecDeque<LegEvent>,
    finished: bool,
}

/// From the answer on.
#[derive(Debug)]
struct Talk {
    agreed: Agreed,
    started: Instant,
    downlink: Downlink,
    latch: Latch,
    receiver: Receiver,
    digits: dtmf::Receiver,
    heard: String,
    /// The next sample of `play`; `None` once all was said.
    cursor: Option<usize>,
    send: bool,
    receive: bool,
    last_packet: Option<Instant>,
    /// From when on silence counts.
    awaited_since: Instant,
    is_lost: bool,
    report: RtpReport,
    gaps: Gaps,
    recorder: Recorder,
    meter: Meter,
    pcm: [i16; WIRE_FRAME * 6],
}

impl PhoneLeg {
    pub(super) fn new(plan: LegPlan, entropy: &mut Entropy) -> Self {
        let [a, b, ..] = entropy.next_u32().to_le_bytes();
        Self {
            plan,
            ssrc: entropy.next_u32(),
            seq: SeqNo(u16::from_le_bytes([a, b])),
            timestamp: RtpTimestamp(entropy.next_u32()),
            talk: None,
            packet: Vec::with_capacity(172),
            packet_due: false,
            events: VecDeque::new(),
            finished: false,
        }
    }

    fn start(&mut self, now: Instant, agreed: Agreed) {
        let mut downlink = Downlink::new(downlink::Config {
            codec: agreed.codec,
            rate: SampleRate::Hz8000,
            playout_max: AHEAD * 4,
            ssrc: self.ssrc,
            seq: self.seq,
            timestamp: self.timestamp,
            telephone_event: agreed.telephone_event,
        });
        downlink.start(now);
        self.talk = Some(Talk {
            agreed,
            started: now,
            downlink,
            latch: Latch::new(LatchPolicy::Nat, agreed.remote, agreed.signalling),
            receiver: Receiver::default(),
            digits: dtmf::Receiver::default(),
            heard: String::new(),
            cursor: (!self.plan.play.is_empty()).then_some(0),
            send: true,
            receive: true,
            last_packet: None,
            awaited_since: now,
            is_lost: false,
            report: RtpReport {
                codec: Some(agreed.codec.name()),
                ..RtpReport::default()
            },
            gaps: Gaps::default(),
            recorder: Recorder::default(),
            meter: Meter::default(),
            pcm: [0; WIRE_FRAME * 6],
        });
    }

    fn finish(&mut self) {
        let heard = self.talk.take().map(Talk::into_heard).unwrap_or_default();
        self.events.push_back(LegEvent::Finished(Box::new(heard)));
        self.packet_due = false;
        self.finished = true;
    }
}

impl MediaLeg for PhoneLeg {
    type Command = LegCommand;
    type Event = LegEvent;

    fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        // Before the answer's SDP is known nothing can be placed; early media is not heard.
        if let Some(talk) = &mut self.talk {
            talk.hear(now, from, datagram, &self.plan, &mut self.events);
        }
    }

    fn handle_link_open(&mut self, _now: Instant) {}
    fn handle_link_message(&mut self, _now: Instant, _message: Message<'_>) {}
    fn handle_link_closed(&mut self, _now: Instant, _clean: bool, _why: String) {}

    fn handle_command(&mut self, now: Instant, command: LegCommand) {
        match (command, &mut self.talk) {
            (LegCommand::Start(agreed), None) => self.start(now, agreed),
            (LegCommand::Finish, _) => self.finish(),
            (
                LegCommand::Renegotiated {
                    remote,
                    send,
                    receive,
                },
                Some(talk),
            ) => talk.renegotiate(now, remote, send, receive),
            (LegCommand::Press(digits), Some(talk)) => {
                talk.downlink.send_digits(&digits, KEY, KEY_GAP);
            }
            // Before the answer there is nothing to change, and a second answer changes nothing.
            (LegCommand::Start(_) | LegCommand::Renegotiated { .. } | LegCommand::Press(_), _) => {}
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        let Some(talk) = &mut self.talk else { return };
        talk.say(&self.plan, &mut self.events);
        let packet = talk.downlink.tick(now);
        self.packet_due = talk.send;
        if talk.send {
            self.packet.clear();
            self.packet.extend_from_slice(packet);
        }
        talk.measure(self.plan.levels, &mut self.events);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let Some(talk) = &mut self.talk else { return };
        talk.digits.handle_timeout(now);
        talk.take_digits(&mut self.events);
        if talk.lost_at(&self.plan).is_some_and(|at| at <= now) {
            talk.is_lost = true;
            self.events.push_back(LegEvent::MediaLost);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let talk = self.talk.as_ref()?;
        [talk.digits.poll_timeout(), talk.lost_at(&self.plan)]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, &[u8])> {
        let talk = self.talk.as_mut()?;
        let due = std::mem::take(&mut self.packet_due);
        due.then(|| (talk.latch.destination(), self.packet.as_slice()))
    }

    fn poll_link(&mut self) -> Option<LinkOutput<'_>> {
        None
    }

    fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_obsolete_soon(event: &LegEvent) -> bool {
        matches!(event, LegEvent::Level { .. })
    }
}

impl Talk {
    fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        plan: &LegPlan,
        events: &mut VecDeque<LegEvent>,
    ) {
        let parsed = packet::parse(datagram).ok().filter(|p| self.is_agreed(p));
        let admitted = self.latch.admit(now, from, parsed.is_some());
        let Some(packet) = parsed.filter(|_| admitted == Admission::Take) else {
            self.report.refused += 1;
            return;
        };
        let is_event = Some(packet.payload_type) == self.agreed.telephone_event;
        match self.receiver.handle(now, &packet, !is_event) {
            Verdict::Accept { .. } | Verdict::Restarted { .. } | Verdict::Hold => {}
            Verdict::Duplicate | Verdict::Stale => return,
        }
        self.note_arrival(now, plan, events);
        if is_event {
            let at = now.saturating_duration_since(self.started);
            self.digits.handle(now, at, &packet);
            self.take_digits(events);
        } else if packet.payload_type == self.agreed.payload_type {
            self.hear_audio(now, &packet, plan, events);
        }
    }

    fn is_agreed(&self, packet: &Packet<'_>) -> bool {
        const COMFORT_NOISE: u8 = 13;
        let number = packet.payload_type;
        number == self.agreed.payload_type
            || Some(number) == self.agreed.telephone_event
            || number == COMFORT_NOISE
    }

    fn note_arrival(&mut self, now: Instant, plan: &LegPlan, events: &mut VecDeque<LegEvent>) {
        match self.last_packet {
            None => {
                let after = now.saturating_duration_since(self.started);
                self.report.first_packet_ms = Some(ms(after));
                events.push_back(LegEvent::FirstPacket(after));
            }
            Some(last) => {
                let gap = now.saturating_duration_since(last);
                self.gaps.saw(last, now);
                self.report.longest_gap_ms = self.report.longest_gap_ms.max(ms(gap));
                if plan.keep.gaps && self.report.gaps_ms.len() < MAX_GAPS {
                    self.report.gaps_ms.push(gap.as_secs_f32() * 1e3);
                }
            }
        }
        self.last_packet = Some(now);
        self.awaited_since = now;
    }

    fn hear_audio(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        plan: &LegPlan,
        events: &mut VecDeque<LegEvent>,
    ) {
        let len = g711::decode_into(self.agreed.codec, packet.payload, &mut self.pcm);
        let samples = &self.pcm[..len];
        let loudness = levels::dbfs(samples);
        self.meter.heard(loudness);
        let after = now.saturating_duration_since(self.started);
        if loudness > VOICE_DBFS && self.report.first_voice_ms.is_none() {
            self.report.first_voice_ms = Some(ms(after));
            events.push_back(LegEvent::FirstVoice(after));
        }
        if plan.keep.recording {
            self.recorder.place(packet.timestamp, samples, after);
        }
    }

    fn take_digits(&mut self, events: &mut VecDeque<LegEvent>) {
        while let Some(press) = self.digits.poll() {
            if self.heard.len() < 256 {
                self.heard.push(press.digit);
            }
            events.push_back(LegEvent::Digit(press.digit));
        }
    }

    /// Keeps what is to be said a little ahead of the clock.
    fn say(&mut self, plan: &LegPlan, events: &mut VecDeque<LegEvent>) {
        while let Some(cursor) = self.cursor
            && self.downlink.queued() < AHEAD
        {
            let end = (cursor + WIRE_FRAME).min(plan.play.len());
            let pushed = self.downlink.push_pcm(&plan.play[cursor..end]);
            debug_assert_eq!(
                pushed.dropped, 0,
                "the queue holds four times what is kept in it"
            );
            self.cursor = if end < plan.play.len() {
                Some(end)
            } else if plan.repeat {
                Some(0)
            } else {
                events.push_back(LegEvent::PlayedOut);
                None
            };
        }
    }

    fn measure(&mut self, watched: bool, events: &mut VecDeque<LegEvent>) {
        if watched {
            let said = levels::dbfs(self.downlink.last_frame());
            if let Some((heard, said)) = self.meter.said(said) {
                events.push_back(LegEvent::Level { heard, said });
            }
        }
        // Marks are not used here, but the downlink's reports must be taken.
        while self.downlink.poll_event().is_some() {}
    }

    fn renegotiate(&mut self, now: Instant, remote: SocketAddr, send: bool, receive: bool) {
        if !remote.ip().is_unspecified() {
            self.latch.renegotiated(remote);
        }
        self.send = send;
        self.receive = receive;
        self.awaited_since = now;
    }

    fn lost_at(&self, plan: &LegPlan) -> Option<Instant> {
        (self.receive && !self.is_lost).then(|| self.awaited_since + plan.no_rtp_timeout)
    }

    fn into_heard(mut self) -> Heard {
        let stats = self.receiver.stats();
        self.report.sent = self.downlink.packets_sent();
        self.report.received = stats.received;
        self.report.lost = stats.lost;
        self.report.duplicates = stats.duplicates;
        self.report.reordered = stats.reordered;
        self.report.jitter_ms = ms(self.receiver.jitter());
        self.report.digits = self.heard;
        Heard {
            rtp: self.report,
            gaps: self.gaps,
            recording: self.recorder.samples,
        }
    }
}

/// Lays what is heard on the sender's clock.
#[derive(Debug, Default)]
struct Recorder {
    samples: Vec<i16>,
    /// A timestamp and its place.
    anchor: Option<(RtpTimestamp, usize)>,
}

impl Recorder {
    fn place(&mut self, timestamp: RtpTimestamp, heard: &[i16], after: Duration) {
        let at = self.position(timestamp).unwrap_or_else(|| {
            let frames = usize::try_from(after.as_millis() / PTIME.as_millis()).unwrap_or(0);
            let wall = (frames * WIRE_FRAME).max(self.samples.len());
            self.anchor = Some((timestamp, wall));
            wall
        });
        let end = at.saturating_add(heard.len());
        if end > MAX_RECORDING {
            return;
        }
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        self.samples[at..end].copy_from_slice(heard);
    }

    /// `None` when the clock leapt, or this is the first.
    fn position(&self, timestamp: RtpTimestamp) -> Option<usize> {
        let (anchor, place) = self.anchor?;
        let offset = isize::try_from(timestamp.since(anchor)).ok()?;
        let at = place.checked_add_signed(offset)?;
        (at <= self.samples.len() + MAX_LEAP).then_some(at)
    }
}

/// Loudest frame each way over the last few.
#[derive(Debug)]
struct Meter {
    heard: f32,
    said: f32,
    frames: u32,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            heard: levels::SILENCE_DBFS,
            said: levels::SILENCE_DBFS,
            frames: 0,
        }
    }
}

impl Meter {
    fn heard(&mut self, dbfs: f32) {
        self.heard = self.heard.max(dbfs);
    }

    fn said(&mut self, dbfs: f32) -> Option<(f32, f32)> {
        self.said = self.said.max(dbfs);
        self.frames += 1;
        if self.frames < LEVEL_FRAMES {
            return None;
        }
        let levels = (self.heard, self.said);
        *self = Self::default();
        Some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "127.0.0.1:4000";

    #[expect(clippy::disallowed_methods, reason = "a test's epoch")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn leg(play: &[i16]) -> (PhoneLeg, Instant) {
        let made_for = LegPlan {
            play: play.into(),
            repeat: false,
            keep: Keep::ALL,
            levels: true,
            no_rtp_timeout: Duration::from_secs(2),
        };
        let mut leg = PhoneLeg::new(made_for, &mut Entropy::from_number(1));
        let t0 = epoch();
        let agreed = Agreed {
            remote: PEER.parse().unwrap(),
            signalling: "127.0.0.1".parse().unwrap(),
            codec: Codec::Pcmu,
            payload_type: 0,
            telephone_event: Some(101),
        };
        leg.handle_command(t0, LegCommand::Start(agreed));
        (leg, t0)
    }

    fn rtp(seq: u16, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        Packet {
            marker: false,
            payload_type,
            seq: SeqNo(seq),
            timestamp: RtpTimestamp(timestamp),
            ssrc: 9,
            payload,
        }
        .write(&mut datagram);
        datagram
    }

    fn heard(leg: &mut PhoneLeg, now: Instant) -> Heard {
        leg.handle_command(now, LegCommand::Finish);
        assert!(leg.is_finished());
        loop {
            if let LegEvent::Finished(heard) = leg.poll_event().expect("finished") {
                return *heard;
            }
        }
    }

    fn at(t0: Instant, frame: u64) -> Instant {
        t0 + Duration::from_millis(20 * frame)
    }

    #[test]
    fn what_is_said_goes_out_frame_by_frame_and_then_silence() {
        let (mut leg, t0) = leg(&[8000; 400]);
        let mut payloads = Vec::new();
        for n in 1..=6 {
            leg.handle_tick(at(t0, n));
            let (to, packet) = leg.poll_transmit().expect("a packet every tick");
            assert_eq!(to, PEER.parse().unwrap());
            payloads.push(packet::parse(packet).unwrap().payload.to_vec());
            assert!(leg.poll_transmit().is_none());
        }
        let loud = g711::encode(Codec::Pcmu, 8000);
        assert_eq!(payloads[0], [loud; 160]);
        assert!(!payloads[5].contains(&loud));
        assert_eq!(heard(&mut leg, at(t0, 7)).rtp.sent, 6);
    }

    #[test]
    fn what_is_heard_is_laid_on_the_senders_clock_and_loss_is_silence() {
        let (mut leg, t0) = leg(&[]);
        let octet = g711::encode(Codec::Pcmu, 4000);
        for (n, seq) in [(0, 0), (1, 1), (3, 3), (4, 2), (5, 3)] {
            let datagram = rtp(seq, 0, u32::from(seq) * 160, &[octet; 160]);
            leg.handle_rtp(at(t0, n), PEER.parse().unwrap(), &datagram);
        }
        leg.handle_rtp(
            at(t0, 6),
            PEER.parse().unwrap(),
            &rtp(6, 0, 960, &[octet; 160]),
        );
        let heard = heard(&mut leg, at(t0, 7));
        assert_eq!((heard.rtp.received, heard.rtp.lost), (5, 2));
        assert_eq!((heard.rtp.duplicates, heard.rtp.reordered), (1, 1));
        assert_eq!(heard.recording.len(), 7 * 160);
        assert!(heard.recording[..640].iter().all(|s| *s > 3000));
        assert!(heard.recording[640..960].iter().all(|s| *s == 0));
        assert_eq!(heard.rtp.first_voice_ms, Some(0.0));
        assert!((heard.rtp.longest_gap_ms - 40.0).abs() < 0.1);
    }

    #[test]
    fn strangers_and_noise_are_refused_and_counted() {
        let (mut leg, t0) = leg(&[]);
        let stranger = "192.0.2.66:4000".parse().unwrap();
        leg.handle_rtp(t0, stranger, &rtp(1, 0, 0, &[0; 160]));
        leg.handle_rtp(t0, PEER.parse().unwrap(), b"\x00noise");
        leg.handle_rtp(t0, PEER.parse().unwrap(), &rtp(1, 96, 0, &[0; 160]));
        leg.handle_rtp(t0, PEER.parse().unwrap(), &[0; 2048]);
        let heard = heard(&mut leg, t0);
        assert_eq!((heard.rtp.received, heard.rtp.refused), (0, 4));
        assert!(heard.recording.is_empty());
    }

    #[test]
    fn a_clock_that_leaps_does_not_make_a_recording_of_hours() {
        let (mut leg, t0) = leg(&[]);
        for (seq, timestamp) in [(1, 0), (2, 0x7000_0000), (3, 0xf000_0000), (4, 5)] {
            leg.handle_rtp(
                t0,
                PEER.parse().unwrap(),
                &rtp(seq, 0, timestamp, &[0; 160]),
            );
        }
        assert_eq!(heard(&mut leg, t0).recording.len(), 4 * 160);
    }

    #[test]
    fn keys_go_out_as_events_and_come_in_as_digits() {
        let (mut leg, t0) = leg(&[]);
        leg.handle_command(t0, LegCommand::Press("5".into()));
        leg.handle_tick(at(t0, 1));
        let (_, packet) = leg.poll_transmit().unwrap();
        let packet = packet::parse(packet).unwrap();
        assert_eq!((packet.payload_type, packet.payload[0]), (101, 5));

        let end = rtp(1, 101, 0, &[7, 0x8a, 0x05, 0]);
        leg.handle_rtp(at(t0, 2), PEER.parse().unwrap(), &end);
        let digit =
            std::iter::from_fn(|| leg.poll_event()).find(|e| matches!(e, LegEvent::Digit(_)));
        assert_eq!(digit, Some(LegEvent::Digit('7')));
        assert_eq!(heard(&mut leg, at(t0, 3)).rtp.digits, "7");
    }

    #[test]
    fn silence_on_the_wire_is_a_lost_call_but_not_on_hold() {
        let (mut leg, t0) = leg(&[]);
        let remote = PEER.parse().unwrap();
        let hold = |receive| LegCommand::Renegotiated {
            remote,
            send: receive,
            receive,
        };
        leg.handle_command(at(t0, 50), hold(false));
        assert_eq!(leg.poll_timeout(), None);
        leg.handle_tick(at(t0, 51));
        assert!(leg.poll_transmit().is_none(), "held: nothing goes out");
        leg.handle_command(at(t0, 500), hold(true));
        assert_eq!(leg.poll_timeout(), Some(at(t0, 600)));
        leg.handle_timeout(at(t0, 600));
        let lost = std::iter::from_fn(|| leg.poll_event()).any(|e| e == LegEvent::MediaLost);
        assert!(lost);
        assert_eq!(leg.poll_timeout(), None, "told once");
    }
}
